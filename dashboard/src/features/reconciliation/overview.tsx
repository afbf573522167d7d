import type { ReactNode } from "react";

import { useDeclarations } from "@/api/flows";
import { setFlowFilter, useAddress } from "@/state/address";
import { Notice } from "@/ui/notice";
import { PeriodPicker } from "@/ui/period-picker";

import { useSummary } from "./api";
import { Cards } from "./cards";
import { Funnel } from "./funnel";
import { Silence } from "./silence";
import { FlowInstanceTable } from "./flow-instance-table";
import { Trend } from "./trend";
import { WorkloadPanel } from "./workload";

/** The summary of reconciliation, and the orders with their status. */
export default function Overview(): ReactNode {
  const { flows } = useAddress();
  const { summary, query } = useSummary(flows);
  return (
    <>
      <div className="flex flex-wrap items-center justify-between gap-x-4 gap-y-2 px-1">
        <h2 className="text-base font-semibold tracking-tight">Reconciliation</h2>
        <div className="flex flex-wrap gap-2">
          <Flows />
          <PeriodPicker label="Period" chosen={flows} onChange={setFlowFilter} />
        </div>
      </div>
      {summary && <Silence sources={summary.silent} />}
      {query.error && !summary ? (
        <Notice tone="bad" title="Could not load the summary" onRetry={() => void query.refetch()}>
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
      <WorkloadPanel flow={flows.flow} />
      <FlowInstanceTable summary={summary} />
    </>
  );
}

/** Selects a flow, if there are several. */
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
      <option value="">All flows</option>
      {declared.map(({ name }) => (
        <option key={name}>{name}</option>
      ))}
    </select>
  );
}
