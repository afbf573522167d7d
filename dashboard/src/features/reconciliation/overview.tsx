import type { ComponentProps, ReactNode } from "react";

import { useDeclarations } from "@/api/flows";
import { PERIOD_NAMES, PERIODS, startOf, type Period, type Range } from "@/lib/flows";
import { localMinute } from "@/lib/format";
import { serverNow } from "@/lib/server-clock";
import { setFlowFilter, useAddress } from "@/state/address";
import { Notice } from "@/ui/notice";

import { useSummary } from "./api";
import { Cards } from "./cards";
import { Funnel } from "./funnel";
import { Silence } from "./silence";
import { StoryTable } from "./story-table";
import { Trend } from "./trend";

/** Whether the clouds tell the same story, and of which orders they do not. */
export default function Overview(): ReactNode {
  const { flows } = useAddress();
  const { summary, query } = useSummary(flows);
  return (
    <>
      <div className="flex flex-wrap items-center justify-between gap-x-4 gap-y-2 px-1">
        <h2 className="text-base font-semibold tracking-tight">Do the three clouds agree?</h2>
        <div className="flex flex-wrap gap-2">
          <Flows />
          <Periods />
        </div>
      </div>
      {summary && <Silence sources={summary.silent} />}
      {query.error && !summary ? (
        <Notice tone="bad" title="The sums can't be shown" onRetry={() => void query.refetch()}>
          {query.error.message}
        </Notice>
      ) : (
        <>
          <Cards summary={summary} />
          <div className="grid grid-cols-1 gap-3 sm:gap-4 xl:grid-cols-3">
            <Trend trend={summary?.trend ?? null} />
            <Funnel summary={summary} />
          </div>
        </>
      )}
      <StoryTable summary={summary} />
    </>
  );
}

/** Which flow, when there are several. */
function Flows(): ReactNode {
  const { flow } = useAddress().flows;
  const declared = useDeclarations().data ?? [];
  if (declared.length < 2) return null;
  return (
    <select
      aria-label="Flow"
      value={flow ?? ""}
      onChange={(event) => {
        setFlowFilter({ flow: event.target.value || null });
      }}
      className="h-8 rounded-lg border border-edge bg-panel px-2 text-[13px] text-soft"
    >
      <option value="">Every flow</option>
      {declared.map(({ name }) => (
        <option key={name}>{name}</option>
      ))}
    </select>
  );
}

function Periods(): ReactNode {
  const { period: chosen, from, to } = useAddress().flows;
  const custom = from !== null || to !== null;
  return (
    <>
      <div role="group" aria-label="Period" className="flex h-8 overflow-hidden rounded-lg border border-edge bg-panel">
        {(Object.keys(PERIODS) as Period[]).map((period) => (
          <PeriodButton
            key={period}
            pressed={!custom && chosen === period}
            onClick={() => {
              setFlowFilter({ period, from: null, to: null });
            }}
          >
            {PERIOD_NAMES[period]}
          </PeriodButton>
        ))}
        <PeriodButton
          pressed={custom}
          onClick={() => {
            if (!custom) setFlowFilter({ from: startOf(chosen, serverNow()) });
          }}
        >
          Custom
        </PeriodButton>
      </div>
      {custom && <RangeFields from={from} to={to} />}
    </>
  );
}

function PeriodButton({ pressed, ...rest }: ComponentProps<"button"> & { pressed: boolean }): ReactNode {
  return (
    <button
      type="button"
      aria-pressed={pressed}
      className="border-l border-line px-2.5 text-[13px] text-soft first:border-l-0 hover:bg-raised focus-visible:-outline-offset-2 aria-pressed:bg-raised aria-pressed:font-semibold aria-pressed:text-ink"
      {...rest}
    />
  );
}

/** When the orders began, in the viewer's own time; an end that is empty is open. */
function RangeFields({ from, to }: Range): ReactNode {
  const field = (label: string, value: string | null, change: (moment: string | null) => Partial<Range>): ReactNode => (
    <label className="flex items-center gap-1.5 text-[13px] text-soft">
      {label}
      <input
        type="datetime-local"
        value={value ? localMinute(Date.parse(value)) : ""}
        onChange={({ target }) => {
          setFlowFilter(change(target.value ? new Date(target.value).toISOString() : null));
        }}
        className="h-8 rounded-lg border border-edge bg-panel px-2 text-ink tabular-nums"
      />
    </label>
  );
  return (
    <>
      {field("From", from, (moment) => ({ from: moment }))}
      {field("to", to, (moment) => ({ to: moment }))}
    </>
  );
}
