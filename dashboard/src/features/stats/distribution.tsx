import type { ReactNode } from "react";

import { count, percent, shortCount } from "@/lib/format";
import { sources, type Source } from "@/lib/sources";
import { SourceMark } from "@/ui/source-mark";
import { Notice, Skeleton } from "@/ui/notice";
import { Panel } from "@/ui/panel";

import { useTotals } from "./api";
import { Donut } from "./donut";

/** The share of each source in all stored events, as a chart and a table. */
export function Distribution(): ReactNode {
  const { totals, query } = useTotals();
  return (
    <Panel title="Events by source">
      {totals ? (
        totals.total > 0 ? (
          <Shares stored={totals.stored} total={totals.total} />
        ) : (
          <Notice title="No events yet">The shares appear with the first event.</Notice>
        )
      ) : query.error ? (
        <Notice title="Not available">The API does not answer.</Notice>
      ) : (
        <Skeleton className="mx-5 mb-5 h-44" />
      )}
    </Panel>
  );
}

function Shares({ stored, total }: { stored: Readonly<Record<Source, number>>; total: number }): ReactNode {
  return (
    <div className="flex flex-1 flex-wrap items-center justify-center gap-x-8 gap-y-4 px-5 pb-5">
      <div className="relative size-42">
        <Donut values={stored} />
        <p aria-hidden className="absolute inset-0 flex flex-col items-center justify-center">
          <span className="text-xl leading-6 font-semibold tracking-tight tabular-nums">{shortCount(total)}</span>
          <span className="text-xs text-faint">events</span>
        </p>
      </div>
      <table className="text-[13px] tabular-nums">
        <caption className="sr-only">Stored events by source</caption>
        <tbody>
          {sources().map(({ name, label }) => (
            <tr key={name}>
              <th scope="row" className="py-1 pr-5 text-left font-medium">
                <span className="flex items-center gap-2">
                  <SourceMark source={name} />
                  {label}
                </span>
              </th>
              <td className="pr-4 text-right font-semibold">{percent(stored[name] ?? 0, total)}</td>
              <td className="text-right text-faint">{count(stored[name] ?? 0)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
