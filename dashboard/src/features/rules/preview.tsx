import type { ReactNode } from "react";

import { count, plural } from "@/lib/format";
import { toFlowInstance } from "@/state/address";
import { Link } from "@/ui/link";
import { Moment } from "@/ui/moment";
import { Scrolling } from "@/ui/scrolling";
import { StatusBadge } from "@/ui/status-badge";

import type { FlowPreview } from "./api";

type Status = FlowPreview["changes"][number]["recorded"];

/** What the version would change: how many orders from which verdict to which, and some of them. */
export function Preview({ preview }: { preview: FlowPreview }): ReactNode {
  const { changes, examples } = preview;
  return (
    <section aria-label="Preview" className="flex flex-col gap-3">
      {changes.length === 0 ? (
        <p className="font-semibold">No verdict of the compared orders would change.</p>
      ) : (
        <Scrolling label="Changes">
          <table className="w-full text-left">
            <caption className="sr-only">Orders whose verdict would change</caption>
            <thead className="text-xs text-faint">
              <tr>
                <th className="py-1 font-medium">Verdict now</th>
                <th className="py-1 font-medium">By this version</th>
                <th className="py-1 text-right font-medium">Compared orders</th>
                <th className="py-1 pl-3 text-right font-medium">Estimated in all</th>
              </tr>
            </thead>
            <tbody>
              {changes.map(({ recorded, previewed, compared, estimated }) => (
                <tr key={`${recorded} ${previewed}`} className="border-t border-line">
                  <td className="py-1.5 pr-3">
                    <Verdict status={recorded} />
                  </td>
                  <td className="py-1.5 pr-3">
                    <Verdict status={previewed} />
                  </td>
                  <td className="py-1.5 text-right tabular-nums">{count(compared)}</td>
                  <td className="py-1.5 pl-3 text-right tabular-nums">{count(estimated)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </Scrolling>
      )}
      <Coverage preview={preview} />
      {examples.length > 0 && (
        <details>
          <summary className="cursor-pointer font-medium">{plural(examples.length, "example")}</summary>
          <ul className="mt-2 rounded-lg border border-line">
            {examples.map(({ key, recorded, previewed, issues }) => (
              <li key={key} className="flex min-h-9 flex-wrap items-center gap-x-3 gap-y-1 border-t border-line px-3 py-1 first:border-t-0">
                {recorded === "none" ? (
                  <span className="font-mono text-xs break-all">{key}</span>
                ) : (
                  <Link
                    to={toFlowInstance({ flow: preview.flow, key })}
                    className="inline-flex min-h-6 items-center font-mono text-xs break-all underline underline-offset-2"
                  >
                    {key}
                  </Link>
                )}
                <Verdict status={recorded} />
                <span aria-label="would be">→</span>
                <Verdict status={previewed} />
                <span className="min-w-0 break-words text-soft">{issues[0]?.detail}</span>
              </li>
            ))}
          </ul>
        </details>
      )}
    </section>
  );
}

/** How much was compared: the table is exact for these orders, and an estimate for the others. */
function Coverage({ preview }: { preview: FlowPreview }): ReactNode {
  const { problems, others, covered_since, since, contradictory, seconds } = preview;
  const isPart = covered_since !== since;
  return (
    <p className="text-soft">
      Compared in {seconds.toFixed(1)} s: {count(problems.compared)} of {plural(problems.instances, "problem")} and{" "}
      {count(others.compared)} of {count(others.instances)} other orders, opened since <Moment at={covered_since} />.
      {isPart && " This version has other legs than the rules in force, so that only the newest events were read."}
      {contradictory > 0 && ` Not compared: ${plural(contradictory, "order")} with contradictions.`}
    </p>
  );
}

function Verdict({ status }: { status: Status }): ReactNode {
  return status === "none" ? <span className="text-soft">No order</span> : <StatusBadge status={status} />;
}
