import { useState, type ReactNode } from "react";

import { count, localMinute, minuteOfDay } from "@/lib/format";
import { cx } from "@/ui/class-names";
import { Notice } from "@/ui/notice";
import { Panel } from "@/ui/panel";
import { Scrolling } from "@/ui/scrolling";
import { Segments } from "@/ui/segments";
import { SourceBadge } from "@/ui/source-mark";

import { useBalances, type Balance } from "./api";

type Shown = "all" | "missing";
const CHOICES = [
  ["all", "All"],
  ["missing", "Missing"],
] as const;

const COLUMNS = ["published", "stored", "duplicate", "rejected", "missing", "extra"] as const;
/** The columns that a narrow screen has no room for. */
const WIDE_ONLY: readonly string[] = ["stored", "duplicate", "rejected", "extra"];

/** What was published and what arrived, by minute, source and type. Nothing is shown if no producer sends manifests. */
export default function Balances(): ReactNode {
  const [shown, setShown] = useState<Shown>("all");
  const { data, error, refetch } = useBalances(shown === "missing");
  if (shown === "all" && !error && !data?.length) return null;
  return (
    <Panel
      title="Published and arrived"
      aside={<Segments label="Show" value={shown} choices={CHOICES} onChange={setShown} />}
    >
      {error && !data ? (
        <Notice tone="bad" title="Could not load the balances" onRetry={() => void refetch()}>
          {error.message}
        </Notice>
      ) : data?.length === 0 ? (
        <Notice title="No event is missing">Everything that producers say they have published has arrived.</Notice>
      ) : (
        data && (
          <Scrolling label="Balances" className="max-h-80 px-4 pb-3 sm:px-5">
            <Table rows={data} />
          </Scrolling>
        )
      )}
    </Panel>
  );
}

function Table({ rows }: { rows: Balance[] }): ReactNode {
  return (
    <table className="w-full text-[13px] tabular-nums">
      <thead>
        <tr className="text-left text-xs text-faint">
          <th className="py-1.5 pr-3 font-medium">minute</th>
          <th className="py-1.5 pr-3 font-medium max-sm:hidden">source</th>
          <th className="py-1.5 pr-3 font-medium">type</th>
          {COLUMNS.map((name) => (
            <th key={name} className={cx("py-1.5 pl-3 text-right font-medium", WIDE_ONLY.includes(name) && "max-sm:hidden")}>
              {name}
            </th>
          ))}
          <th className="py-1.5 pl-3 font-medium max-sm:hidden">state</th>
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={`${row.minute} ${row.source} ${row.type}`} className="border-t border-line">
            <td className="py-1.5 pr-3 whitespace-nowrap">
              <span className="sm:hidden">{minuteOfDay(Date.parse(row.minute))}</span>
              <span className="max-sm:hidden">{localMinute(Date.parse(row.minute)).replace("T", " ")}</span>
            </td>
            <td className="py-1.5 pr-3 max-sm:hidden">
              <SourceBadge source={row.source} />
            </td>
            <td className="py-1.5 pr-3 wrap-anywhere">
              <SourceBadge source={row.source} className="sm:hidden" />
              <span className="max-sm:block">{row.type}</span>
            </td>
            {COLUMNS.map((name) => (
              <td
                key={name}
                className={cx(
                  "py-1.5 pl-3 text-right",
                  WIDE_ONLY.includes(name) && "max-sm:hidden",
                  name === "missing" && row.missing > 0 && "font-semibold text-bad",
                )}
              >
                {number(row, name)}
              </td>
            ))}
            <td className="py-1.5 pl-3 text-soft max-sm:hidden">{row.state}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** A count; nothing before Helios has counted, and for what is not declared. */
function number(row: Balance, name: (typeof COLUMNS)[number]): string {
  const value = row[name];
  const isKnown = name === "published" || row.counted_at !== null;
  return value === null || !isKnown ? "" : count(value);
}
