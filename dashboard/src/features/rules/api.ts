/** The rules of flows: their versions, previews and approvals. */
import { useMutation, useQuery, useQueryClient, type UseMutationResult, type UseQueryResult } from "@tanstack/react-query";

import { apiUrl, get, getText, post, type Schemas } from "@/api/http";

export type FlowRules = Schemas["FlowRules"];
export type FlowVersion = Schemas["FlowVersion"];
export type FlowPreview = Schemas["FlowPreview"];

const RULES = ["rules"] as const;
const PATH = "/api/v1/flow-versions";
const REFRESH_MS = 5000;
const SHOWN = 20;

/** The rules of each flow; read again at an interval, because other people edit them too. */
export function useFlowRules(): UseQueryResult<FlowRules[]> {
  return useQuery({
    queryKey: RULES,
    queryFn: ({ signal }) => get<FlowRules[]>(apiUrl(PATH), signal),
    refetchInterval: REFRESH_MS,
  });
}

/** The versions of a flow, the newest first. */
export function useHistory(flow: string, latest: number | null): UseQueryResult<FlowVersion[]> {
  return useQuery({
    queryKey: [...RULES, flow, latest],
    queryFn: async ({ signal }) =>
      (await get<Schemas["FlowVersionPage"]>(apiUrl(`${PATH}/${flow}`, { limit: SHOWN }), signal)).items,
  });
}

export const useSave = (): UseMutationResult<FlowVersion, Error, Schemas["NewFlowVersion"]> =>
  useChange((draft) => post(apiUrl(PATH), undefined, draft));

export const usePreview = (): UseMutationResult<FlowPreview, Error, FlowVersion> =>
  useChange(({ flow, version }) => post(apiUrl(`${PATH}/${flow}/${version}/preview`)));

export const useApprove = (): UseMutationResult<FlowVersion, Error, FlowVersion> =>
  useChange(({ flow, version }) => post(apiUrl(`${PATH}/${flow}/${version}/approve`)));

export const useWithdraw = (): UseMutationResult<FlowVersion, Error, FlowVersion> =>
  useChange(({ flow, version }) => post(apiUrl(`${PATH}/${flow}/${version}/withdraw`)));

/** The bytes of a version, or of the rules in force. */
export const textOf = (flow: string, version: number | null): Promise<string> =>
  getText(apiUrl(version === null ? `${PATH}/${flow}/toml` : `${PATH}/${flow}/${version}/toml`));

/** A change of the rules. What the page shows of them is read again afterwards, also if the API refuses the change. */
function useChange<T, R>(change: (variables: T) => Promise<R>): UseMutationResult<R, Error, T> {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: change,
    onSettled: () => queries.invalidateQueries({ queryKey: RULES }),
  });
}
