import { Fragment, type ReactNode } from "react";

import { count } from "@/lib/format";

import { useTotals } from "./api";

/** Nothing gets lost between receiving and storing: the sum that shows it. */
export function CountsLine(): ReactNode {
  const { totals } = useTotals();
  // Its place is kept, so that what is below does not jump.
  if (!totals) return <p className="min-h-10 sm:min-h-5" />;
  const parts: [number, string][] = [
    [totals.total, "stored"],
    [totals.duplicate, "duplicate"],
    [totals.contradictory, "contradictory"],
    [totals.rejected, "rejected"],
  ];
  const received = parts.reduce((sum, [value]) => sum + value, 0);
  return (
    <p className="min-h-10 px-1 text-xs sm:min-h-5 leading-5 text-faint tabular-nums">
      <strong className="font-semibold text-soft">{count(received)}</strong> deliveries received ={" "}
      {parts.map(([value, name], index) => (
        <Fragment key={name}>
          {index > 0 && " + "}
          <span className="whitespace-nowrap">
            <strong className="font-semibold text-soft">{count(value)}</strong> {name}
          </span>
        </Fragment>
      ))}
    </p>
  );
}
