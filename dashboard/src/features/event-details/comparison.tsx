import type { ReactNode } from "react";

import { differenceOf, type Field } from "./difference";

/** The fields of the event, where Helios read each of them, and the payload fields that it did not read. */
export function Comparison({ normalised }: { normalised: string }): ReactNode {
  const { fields, unread } = differenceOf(normalised);
  return (
    <div className="mt-3 rounded-lg border border-line text-[13px]">
      <table className="w-full table-fixed text-left">
        <caption className="sr-only">Fields that Helios reads from the payload</caption>
        <thead>
          <tr className="text-[11px] text-faint">
            <th scope="col" className="w-28 px-3 py-1.5 font-medium">
              Helios field
            </th>
            <th scope="col" className="px-3 py-1.5 font-medium">
              Value
            </th>
            <th scope="col" className="w-36 px-3 py-1.5 font-medium">
              Read from
            </th>
          </tr>
        </thead>
        <tbody>
          {fields.map((field) => (
            <Row key={field.name} field={field} />
          ))}
        </tbody>
      </table>
      <p className="border-t border-line px-3 py-2 text-xs leading-5 text-soft">
        {unread.length > 0 ? (
          <>
            Only in the payload: <span className="font-mono break-words">{unread.join(", ")}</span>
          </>
        ) : (
          "The payload has no other fields."
        )}
      </p>
    </div>
  );
}

function Row({ field: { name, value, path, spelling } }: { field: Field }): ReactNode {
  return (
    <tr className="border-t border-line align-top">
      <th scope="row" className="px-3 py-1.5 font-medium">
        {name}
      </th>
      <td className="px-3 py-1.5 font-mono text-xs leading-5 break-all">{value}</td>
      <td className="px-3 py-1.5 text-xs leading-5 break-words">
        {path === null ? <span className="text-faint">envelope</span> : <code className="font-mono">data.{path}</code>}
        {spelling !== null && (
          <>
            {" "}
            <span className="text-warn">
              written as <code className="font-mono">{spelling}</code>
            </span>
          </>
        )}
      </td>
    </tr>
  );
}
