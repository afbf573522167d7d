/** The request for one flow instance, repeated when the stream reports a change of it. */
import { useQuery, type UseQueryResult } from "@tanstack/react-query";
import { useEffect } from "react";

import { flowInstanceQuery, type FlowInstanceDetails } from "@/api/flows";
import { flowInstanceId } from "@/live/flows";
import { serverNow } from "@/lib/server-clock";
import { useFlows } from "@/live/keys";
import type { FlowInstanceKey } from "@/state/address";

/**
 * A frame names only some of many simultaneous changes, so an instance that is not final is also refetched regularly.
 */
const REFRESH_MS = 5000;

export function useFlowInstance(instanceKey: FlowInstanceKey): UseQueryResult<FlowInstanceDetails> {
  const { flow, key } = instanceKey;
  const query = useQuery({
    ...flowInstanceQuery(flow, key),
    refetchInterval: ({ state }) => (state.data && isFinal(state.data) ? false : REFRESH_MS),
  });

  const { refetch } = query;
  const change = useFlows().changes.get(flowInstanceId(instanceKey));
  useEffect(() => {
    if (change) void refetch();
  }, [change, refetch]);

  return query;
}

/**
 * An incomplete instance can still receive a leg. A matched one can receive another part until its deadline, and after
 * that only duplicates, which the stream reports.
 */
const isFinal = ({ status, deadline }: FlowInstanceDetails): boolean =>
  (status === "matched" || status === "matched_late") && Date.parse(deadline) <= serverNow();
