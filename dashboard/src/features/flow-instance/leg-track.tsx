import type { ReactNode } from "react";

import { useDeclarations, type FlowLeg, type FlowInstanceDetails } from "@/api/flows";
import { isSource, sourceName } from "@/lib/sources";
import { partsOf } from "@/lib/flows";
import { span, timeOfDay } from "@/lib/format";
import { SourceMark } from "@/ui/source-mark";
import { cx } from "@/ui/class-names";

/** One lane per leg, on one time scale that ends with the last leg, or with the deadline while a leg is missing. */
export function LegTrack({ instance }: { instance: FlowInstanceDetails }): ReactNode {
  const opened = Date.parse(instance.opened_at);
  const end = lastMoment(instance, opened);
  const window = useDeclarations().data?.find(({ name }) => name === instance.flow)?.window_seconds;
  const late = window === undefined ? end : opened + window * 1000;
  const place = (at: number): number => Math.max(0, (100 * (at - opened)) / (end - opened));
  return (
    <div className="px-4 pb-4 sm:px-5">
      <ul className="relative">
        {late < end && (
          <li aria-hidden className="absolute inset-y-0 right-0 left-24 sm:left-36">
            <span
              className="absolute inset-y-0 right-0 border-l border-dashed border-warn bg-warn-soft"
              style={{ left: `${place(late)}%` }}
            />
          </li>
        )}
        {instance.legs.map((leg) => (
          <Lane key={leg.name} leg={leg} opened={opened} place={place} />
        ))}
      </ul>
      <p className="mt-2 flex justify-between gap-3 pl-24 text-xs text-faint tabular-nums sm:pl-36">
        <span>{timeOfDay(opened)}</span>
        {late < end && <span className="whitespace-nowrap text-warn">late after {timeOfDay(late)}</span>}
        <span className="whitespace-nowrap max-sm:hidden">+{span(end - opened)}</span>
      </p>
    </div>
  );
}

/** The scale ends with the last arrival, so that the legs of a fast order do not all crowd on the left. */
function lastMoment({ legs, status, deadline }: FlowInstanceDetails, opened: number): number {
  const received = legs.flatMap((leg) => (leg.received_at === null ? [] : [Date.parse(leg.received_at)]));
  const lacks = status === "incomplete" || status === "open";
  return Math.max(opened + 1, ...received, lacks ? Date.parse(deadline) : 0);
}

interface LaneProps {
  leg: FlowLeg;
  opened: number;
  place: (at: number) => number;
}

function Lane({ leg, opened, place }: LaneProps): ReactNode {
  const at = leg.received_at === null ? null : Date.parse(leg.received_at);
  const left = at === null ? 0 : place(at);
  return (
    <li className="relative flex h-12 items-center border-t border-line text-[13px] first:border-t-0">
      <span className="w-24 shrink-0 pr-2 leading-4 sm:w-36">
        <span className="block truncate font-medium">{leg.name}</span>
        <span className="block truncate text-xs text-faint tabular-nums">
          {[sourceName(leg.source), partsOf(leg)].filter(Boolean).join(", ")}
        </span>
      </span>
      <span className="relative h-full flex-1">
        <span aria-hidden className="absolute top-1/2 right-0 left-0 h-px bg-line" />
        {at === null ? (
          <span className="absolute top-1/2 right-0 -translate-y-1/2 bg-panel pl-2 text-xs text-soft">
            {leg.state === "pending" ? `pending (${sourceName(leg.source)})` : leg.optional ? "not received" : "missing"}
          </span>
        ) : (
          <span
            className={cx(
              "absolute top-1/2 flex -translate-y-1/2 items-center gap-1.5 bg-panel px-1 text-xs whitespace-nowrap tabular-nums",
              left > 50 && "-translate-x-full flex-row-reverse",
              leg.state === "late" ? "font-medium text-warn" : "text-soft",
            )}
            style={{ left: `${left}%` }}
          >
            {isSource(leg.source) && <SourceMark source={leg.source} className="size-4" />}+{span(at - opened)}
            {leg.state === "late" && " late"}
          </span>
        )}
      </span>
    </li>
  );
}
