import type { ReactNode } from "react";

import { CLOUD_NAMES, SOURCES, type Source } from "@/lib/clouds";
import { count, percent, shortCount } from "@/lib/format";
import { CloudMark } from "@/ui/cloud-mark";
import { Notice, Skeleton } from "@/ui/notice";
import { Panel } from "@/ui/panel";

import { useTotals } from "./api";
import { Donut } from "./donut";

/** The share of each cloud in all stored events, as a chart and a table. */
export function Distribution(): ReactNode {
  const { totals, query } = useTotals();
  return (
    <Panel title="Events by cloud">
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

function Shares({ stored, total }: { stored: Record<Source, number>; total: number }): ReactNode {
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
        <caption className="sr-only">Stored events by cloud</caption>
        <tbody>
          {SOURCES.map((source) => (
            <tr key={source}>
              <th scope="row" className="py-1 pr-5 text-left font-medium">
                <span className="flex items-center gap-2">
                  <CloudMark source={source} />
                  {CLOUD_NAMES[source]}
                </span>
              </th>
              <td className="pr-4 text-right font-semibold">{percent(stored[source], total)}</td>
              <td className="text-right text-faint">{count(stored[source])}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
