/** One order's story, asked again when the stream tells of a change to it. */
import { useQuery, type UseQueryResult } from "@tanstack/react-query";
import { useEffect } from "react";

import { flowInstanceQuery, type FlowInstanceDetails } from "@/api/flows";
import { flowInstanceId } from "@/live/flows";
import { useFlows } from "@/live/keys";
import type { FlowInstanceKey } from "@/state/address";

/** Of many changes at once a frame names only some, so an order that may still change is looked after as well. */
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

/** What matched may still get a duplicate, which the stream tells; what lacks a leg may still get that. */
const isFinal = ({ status }: FlowInstanceDetails): boolean => status === "matched" || status === "matched_late";
