/** Requests for incidents: one for each cause, however many orders it breaks. */
import { keepPreviousData, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import type { UseMutationResult, UseQueryResult } from "@tanstack/react-query";

import type { FlowPage } from "@/api/flows";
import { apiUrl, get, post, type Schemas } from "@/api/http";

export type Incident = Schemas["Incident"];

const INCIDENTS = ["incidents"] as const;
const SHOWN = 50;
const SHOWN_INSTANCES = 10;
/** The interval at which Helios updates incidents. */
const REFRESH_MS = 5000;

/** The open incidents, the last opened first. */
export function useOpenIncidents(): UseQueryResult<Incident[]> {
  return useQuery({
    queryKey: [...INCIDENTS, "open"],
    queryFn: async ({ signal }) => {
      const url = apiUrl("/api/v1/incidents", { state: "open", limit: SHOWN });
      return (await get<Schemas["IncidentPage"]>(url, signal)).items;
    },
    refetchInterval: REFRESH_MS,
  });
}

/** The flow instances that an incident counts: the last opened ones, and whether there are more. */
export function useIncidentInstances(id: number): UseQueryResult<FlowPage> {
  return useQuery({
    queryKey: [...INCIDENTS, "instances", id],
    queryFn: ({ signal }) =>
      get<FlowPage>(apiUrl(`/api/v1/incidents/${id}/instances`, { limit: SHOWN_INSTANCES }), signal),
    refetchInterval: REFRESH_MS,
    placeholderData: keepPreviousData,
  });
}

export type IncidentAction =
  | { name: "acknowledge"; body: Schemas["Acknowledge"] }
  | { name: "snooze"; body: Schemas["Snooze"] }
  | { name: "assign"; body: Schemas["Assign"] };

export function useIncidentAction(id: number): UseMutationResult<Incident, Error, IncidentAction> {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: ({ name, body }) => post<Incident>(apiUrl(`/api/v1/incidents/${id}/${name}`), undefined, body),
    onSettled: () => queries.invalidateQueries({ queryKey: INCIDENTS }),
  });
}
