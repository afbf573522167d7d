import { sourceName } from "@/lib/sources";
import { memo, type ReactNode } from "react";

import type { FlowInstance } from "@/api/flows";
import { amount } from "@/lib/format";
import { sentence } from "@/lib/flows";
import { RESOLUTION_NAMES } from "@/lib/resolutions";
import { toFlowInstance } from "@/state/address";
import { Age } from "@/ui/age";
import { cx } from "@/ui/class-names";
import { Link } from "@/ui/link";
import { StatusBadge } from "@/ui/status-badge";

import { LegMarks } from "./leg-marks";

/** Used by the column headings too. */
export const COLUMNS =
  "lg:grid-cols-[minmax(9rem,0.8fr)_7.5rem_minmax(12rem,2fr)_4rem_6.5rem_3.5rem] lg:gap-x-4";

interface FlowInstanceRowProps {
  row: FlowInstance;
  /** Name the flow, because there are several. */
  named: boolean;
}

/** One order; the whole row is a link to its page. */
export const FlowInstanceRow = memo(function FlowInstanceRow({ row, named }: FlowInstanceRowProps): ReactNode {
  return (
    <li className="border-t border-line first:border-t-0">
      <Link
        to={toFlowInstance(row)}
        data-row={`${row.flow}/${row.key}`}
        className={cx(
          "grid w-full grid-cols-[1fr_auto] items-center gap-x-3 gap-y-1 px-4 py-2.5 text-[13px]",
          "hover:bg-raised focus-visible:-outline-offset-2 sm:px-5 lg:min-h-11 lg:py-1.5",
          COLUMNS,
        )}
      >
        <span className="truncate font-mono text-xs">
          {named && <span className="text-faint">{row.flow} </span>}
          {row.key}
        </span>
        <StatusBadge status={row.status} className="justify-self-end lg:justify-self-start" />
        <span className="text-soft max-lg:col-span-2 lg:truncate">
          {row.resolution && row.resolution.state !== "unresolved" && (
            <span className="mr-2 rounded-md bg-raised px-1.5 py-0.5 text-xs font-medium text-ink">
              {RESOLUTION_NAMES[row.resolution.state]}
            </span>
          )}
          {summary(row)}
        </span>
        <LegMarks legs={row.legs} />
        <span className="flex items-baseline justify-end gap-3 lg:contents">
          <span className="text-right font-medium tabular-nums">
            <span className="sr-only">amount </span>
            {row.amount === null ? <span className="text-faint">–</span> : amount(row.amount)}
          </span>
          <Age at={Date.parse(row.opened_at)} />
        </span>
      </Link>
    </li>
  );
});

/** The first issue, or the state of the legs, in one line. */
export function summary({ issues, legs, status }: FlowInstance): string {
  const pending = legs
    .filter((leg) => leg.state === "pending" && (leg.parts > 0 || !leg.optional))
    .map((leg) => sourceName(leg.source));
  const [first, ...others] = issues.map((issue) => sentence(issue.detail));
  if (first) return others.length > 0 ? `${first}, and ${others.length} more` : first;
  return status === "open" ? `Pending (${[...new Set(pending)].join(", ")})` : "All sources agree";
}
