/** The summary of reconciliation, which the stream keeps current, and the problems that nobody has resolved. */
import { keepPreviousData, useQuery, type UseQueryResult } from "@tanstack/react-query";

import type { FlowSummary } from "@/api/flows";
import { apiUrl, get, type Schemas } from "@/api/http";
import { boundsOf, STATUSES } from "@/lib/flows";
import { serverNow } from "@/lib/server-clock";
import { AGGREGATES } from "@/live/client";
import { noStatuses, type FlowStatusCounts, type StatusCounts } from "@/live/flows";
import { useFlows } from "@/live/keys";
import { useLiveClient } from "@/live/provider";
import type { FlowFilter } from "@/state/address";

const REFRESH_MS = 5000;
const WORKLOAD_REFRESH_MS = 30_000;

export type Workload = Schemas["Workload"];

export interface Summary extends FlowSummary {
  by_status: StatusCounts;
}

/** The problems that nobody has resolved, by flow, assignee and age. */
export function useWorkload(): UseQueryResult<Workload[]> {
  return useQuery({
    queryKey: ["flows", "workload"],
    queryFn: ({ signal }) => get<Workload[]>(apiUrl("/api/v1/flows/workload"), signal),
    refetchInterval: WORKLOAD_REFRESH_MS,
  });
}

type Scope = Pick<FlowFilter, "flow" | "period" | "from" | "to">;

/** The current summary of a period, and the query that it is based on. */
export function useSummary({ flow, period, from, to }: Scope): { summary: Summary | null; query: UseQueryResult<FlowSummary> } {
  const client = useLiveClient();
  const query = useQuery({
    queryKey: [...AGGREGATES, "flows", flow, period, from, to],
    queryFn: ({ signal }) => {
      const bounds = boundsOf({ period, from, to }, serverNow());
      return get<FlowSummary>(apiUrl("/api/v1/flows/summary", { flow, ...bounds }), signal);
    },
    refetchInterval: REFRESH_MS,
    placeholderData: keepPreviousData,
  });
  const now = useFlows();
  const summary = query.data;
  if (!summary) return { summary: null, query };
  // The stream reports current changes only. A period that has ended waits for the next response of the API.
  return { summary: addUp(summary, to ? now : client.flowsAt(summary.position, now), now, flow), query };
}

/**
 * The summary plus the status changes of frames after its position; `before` holds the changes of the frames up to it.
 * A change of an instance that began before the period is counted too, until the next response corrects it.
 */
export function addUp(summary: FlowSummary, before: FlowStatusCounts, now: FlowStatusCounts, flow: string | null): Summary {
  const statuses = { ...noStatuses(), ...summary.by_status };
  for (const name of flow === null ? Object.keys(now.statuses) : [flow]) {
    for (const status of STATUSES) {
      const more = (now.statuses[name]?.[status] ?? 0) - (before.statuses[name]?.[status] ?? 0);
      statuses[status] = Math.max(0, statuses[status] + more);
    }
  }
  const { open, matched, matched_late } = statuses;
  const total = STATUSES.reduce((sum, status) => sum + statuses[status], 0);
  const match_rate = total === open ? null : (matched + matched_late) / (total - open);
  return { ...summary, by_status: statuses, total, match_rate };
}
