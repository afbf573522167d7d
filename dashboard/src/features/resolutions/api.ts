/** What people decide about flow instances. */
import { useMutation, useQuery, useQueryClient, type UseMutationResult, type UseQueryResult } from "@tanstack/react-query";

import { apiUrl, get, post, type Schemas } from "@/api/http";
import type { FlowInstanceKey } from "@/state/address";

export type Resolution = Schemas["Resolution"];
export type ResolutionAction = Schemas["ResolutionAction"];
export type ResolutionRequest = Schemas["ResolutionRequest"];

const RESOLUTIONS = ["resolutions"] as const;
const SHOWN = 20;

/** What people did about one flow instance, the newest first. */
export function useActions({ flow, key }: FlowInstanceKey): UseQueryResult<ResolutionAction[]> {
  return useQuery({
    queryKey: [...RESOLUTIONS, flow, key],
    queryFn: async ({ signal }) =>
      (await get<Schemas["ResolutionPage"]>(apiUrl("/api/v1/resolutions", { flow, key, limit: SHOWN }), signal)).items,
  });
}

/** How many flow instances a filter finds. This request changes nothing. */
export function useDryRun(filter: ResolutionRequest["filter"]): UseQueryResult<ResolutionAction> {
  const counting: ResolutionRequest = { step: "reopen", filter, instances: null, text: null, assignee: null, dry_run: true };
  return useQuery({
    queryKey: [...RESOLUTIONS, "dry run", counting],
    queryFn: ({ signal }) => post<ResolutionAction>(apiUrl("/api/v1/resolutions"), signal, counting),
    gcTime: 0,
    refetchOnWindowFocus: false,
  });
}

export const useResolve = (): UseMutationResult<ResolutionAction, Error, ResolutionRequest> =>
  useChange((request) => post(apiUrl("/api/v1/resolutions"), undefined, request));

/** Take several steps, after all of them were tried: none is taken if one would be refused. */
export const useImport = (): UseMutationResult<ResolutionAction[], Error, ResolutionRequest[]> =>
  useChange(async (requests) => {
    const send = (request: ResolutionRequest): Promise<ResolutionAction> =>
      post(apiUrl("/api/v1/resolutions"), undefined, request);
    if (requests.length > 1) for (const request of requests) await send({ ...request, dry_run: true });
    const actions: ResolutionAction[] = [];
    for (const request of requests) actions.push(await send(request));
    return actions;
  });

export const useUndo = (): UseMutationResult<ResolutionAction, Error, number> =>
  useChange((id) => post(apiUrl(`/api/v1/resolutions/${id}/undo`)));

function useChange<R, T>(change: (variables: T) => Promise<R>): UseMutationResult<R, Error, T> {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: change,
    onSuccess: async () => {
      await Promise.all(
        [RESOLUTIONS, ["flows"], ["flow-instance"]].map((queryKey) => queries.invalidateQueries({ queryKey })),
      );
    },
  });
}
