import { Fragment, type ReactNode } from "react";

import { count } from "@/lib/format";

import { useTotals } from "./api";

/** Shows that every delivery is accounted for: deliveries received = stored + duplicate + contradictory + rejected. */
export function CountsLine(): ReactNode {
  const { totals } = useTotals();
  // The empty line prevents a layout shift.
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
