/** Why legs are missing, and bringing them back from a cloud. */
import { useMutation, useQuery, useQueryClient, type UseMutationResult, type UseQueryResult } from "@tanstack/react-query";

import { apiUrl, get, post, type Schemas } from "@/api/http";
import type { FlowInstanceKey } from "@/state/address";

export type Diagnosis = Schemas["Diagnosis"];
export type Recovery = Schemas["Recovery"];

const RECOVERIES = ["recoveries"] as const;
const SHOWN = 20;
/** How often a running recovery is asked for its outcome. */
const REFRESH_MS = 1000;

/** Why each missing leg of one flow instance is missing; asked again when `changes` changes. */
export function useDiagnoses({ flow, key }: FlowInstanceKey, changes: string, enabled: boolean): UseQueryResult<Diagnosis[]> {
  return useQuery({
    queryKey: [...RECOVERIES, flow, key, "why", changes],
    queryFn: ({ signal }) => get<Diagnosis[]>(apiUrl("/api/v1/diagnoses", { flow, key }), signal),
    enabled,
  });
}

/** The recoveries of one flow instance, the newest first. */
export function useRecoveries({ flow, key }: FlowInstanceKey): UseQueryResult<Recovery[]> {
  return useQuery({
    queryKey: [...RECOVERIES, flow, key],
    queryFn: async ({ signal }) =>
      (await get<Schemas["RecoveryPage"]>(apiUrl("/api/v1/recoveries", { flow, key, limit: SHOWN }), signal)).items,
    refetchInterval: ({ state }) => (state.data?.some((each) => each.state === "running") ? REFRESH_MS : false),
  });
}

export function useRecover({ flow, key }: FlowInstanceKey): UseMutationResult<Recovery, Error, string> {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (leg: string) => post<Recovery>(apiUrl("/api/v1/recoveries"), undefined, { flow, key, leg }),
    onSuccess: () => queries.invalidateQueries({ queryKey: [...RECOVERIES, flow, key] }),
  });
}
