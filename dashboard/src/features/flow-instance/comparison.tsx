import type { ReactNode } from "react";

import type { FlowIssue, FlowLeg, FlowInstanceDetails } from "@/api/flows";
import { isSource, sourceName } from "@/lib/sources";
import { partsOf } from "@/lib/flows";
import { span, timeOfDay } from "@/lib/format";
import { toEvent } from "@/state/address";
import { cx } from "@/ui/class-names";
import { Scrolling } from "@/ui/scrolling";
import { SourceBadge } from "@/ui/source-mark";
import { Link } from "@/ui/link";

/** The legs side by side, with differing values highlighted. */
export function Comparison({ instance: { legs, issues } }: { instance: FlowInstanceDetails }): ReactNode {
  const fields = [...new Set(legs.flatMap((leg) => Object.keys(leg.fields)))].sort();
  return (
    <Scrolling label="Leg comparison" className="pb-3">
      <table className="w-full min-w-max text-left text-[13px]">
        <thead>
          <tr>
            <td />
            {legs.map((leg) => (
              <th key={leg.name} scope="col" className="px-3 py-2 align-top font-semibold">
                <Heading leg={leg} />
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {fields.map((field) => (
            <Row key={field} name={field}>
              {legs.map((leg) => (
                <Field key={leg.name} value={leg.fields[field]} differs={differs(issues, leg.name, field)} />
              ))}
            </Row>
          ))}
          <Row name="occurred">
            {legs.map((leg) => (
              <Cell key={leg.name}>{leg.time && timeOfDay(Date.parse(leg.time))}</Cell>
            ))}
          </Row>
          <Row name="received">
            {legs.map((leg) => (
              <Cell key={leg.name}>{lag(leg)}</Cell>
            ))}
          </Row>
          {legs.some(partsOf) && (
            <Row name="parts">
              {legs.map((leg) => (
                <Cell key={leg.name}>{partsOf(leg)}</Cell>
              ))}
            </Row>
          )}
          <Row name="deliveries">
            {legs.map((leg) => (
              <Cell key={leg.name}>{leg.deliveries}</Cell>
            ))}
          </Row>
        </tbody>
      </table>
    </Scrolling>
  );
}

function Heading({ leg }: { leg: FlowLeg }): ReactNode {
  const { name, source, producer, type, event_id, optional } = leg;
  return (
    <>
      <span className="flex items-center gap-2 whitespace-nowrap">
        {isSource(source) ? <SourceBadge source={source} /> : sourceName(source)}
        {name}
        {optional && <span className="text-xs font-normal text-faint">optional</span>}
      </span>
      {event_id !== null && producer !== null && isSource(source) ? (
        <Link
          to={toEvent({ source, producer, id: event_id })}
          className="inline-block py-1 text-xs font-normal text-accent underline underline-offset-2"
        >
          {type}
        </Link>
      ) : (
        <span className="mt-1 block text-xs font-normal text-faint">{type}, not received</span>
      )}
    </>
  );
}

function Row({ name, children }: { name: string; children: ReactNode }): ReactNode {
  return (
    <tr className="border-t border-line">
      <th scope="row" className="py-2 pr-3 pl-4 font-normal whitespace-nowrap text-faint sm:pl-5">
        {name}
      </th>
      {children}
    </tr>
  );
}

function Cell({ children }: { children: ReactNode }): ReactNode {
  return <td className="px-3 py-2 tabular-nums">{children || <span className="text-faint">–</span>}</td>;
}

/** Colour, weight and a word mark a differing value. */
function Field({ value, differs }: { value: string | undefined; differs: boolean }): ReactNode {
  return (
    <td className="px-3 py-1.5 tabular-nums">
      {value === undefined ? (
        <span className="text-faint">–</span>
      ) : (
        <span className={cx(differs && "rounded-md bg-bad-soft px-1.5 py-0.5 font-semibold text-bad")}>
          {value}
          {differs && <span className="ml-1.5 text-xs font-medium">differs</span>}
        </span>
      )}
    </td>
  );
}

function lag({ time, received_at }: FlowLeg): string | null {
  if (time === null || received_at === null) return null;
  const ms = Date.parse(received_at) - Date.parse(time);
  return ms < 0 ? `${span(-ms)} earlier (clock skew)` : `${span(ms)} later`;
}

export function differs(issues: readonly FlowIssue[], leg: string, field: string): boolean {
  return issues.some(
    (issue) =>
      (issue.kind === "mismatch" || issue.kind === "contradictory") && issue.field === field && issue.legs.includes(leg),
  );
}
