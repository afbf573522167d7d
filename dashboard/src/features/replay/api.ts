/** Replay jobs, which send stored events or dead letters again. */
import { useMutation, useQuery, useQueryClient, type UseMutationResult, type UseQueryResult } from "@tanstack/react-query";

import { apiUrl, get, type Schemas } from "@/api/http";
import { cancel, preview, REPLAYS, start, type Matching, type ReplayJob, type ReplayRequest } from "@/api/replay";

const SHOWN = 20;
const RUNNING_MS = 1000;
const RESTING_MS = 10_000;

const isRunning = ({ state }: ReplayJob): boolean => state === "running";

/** The latest jobs; refreshed more often while a job is running. */
export function useJobs(): UseQueryResult<ReplayJob[]> {
  return useQuery({
    queryKey: [...REPLAYS, "list"],
    queryFn: async ({ signal }) =>
      (await get<Schemas["ReplayPage"]>(apiUrl("/api/v1/replays", { limit: SHOWN }), signal)).items,
    refetchInterval: ({ state }) => (state.data?.some(isRunning) ? RUNNING_MS : RESTING_MS),
  });
}

export function useJob(id: number): UseQueryResult<ReplayJob> {
  return useQuery({
    queryKey: [...REPLAYS, id],
    queryFn: ({ signal }) => get<ReplayJob>(apiUrl(`/api/v1/replays/${id}`), signal),
    refetchInterval: ({ state }) => (state.data && !isRunning(state.data) ? false : RUNNING_MS),
  });
}

/** What a job would send now; an older response is not reused. */
export function usePreview(request: ReplayRequest): UseQueryResult<Matching> {
  return useQuery({
    queryKey: [...REPLAYS, "preview", request],
    queryFn: ({ signal }) => preview(request, signal),
    gcTime: 0,
    refetchOnWindowFocus: false,
  });
}

export const useStart = (): UseMutationResult<ReplayJob, Error, ReplayRequest> => useChange(start);
export const useCancel = (): UseMutationResult<ReplayJob, Error, number> => useChange(cancel);

function useChange<T>(change: (variables: T) => Promise<ReplayJob>): UseMutationResult<ReplayJob, Error, T> {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: change,
    onSettled: () => queries.invalidateQueries({ queryKey: [...REPLAYS, "list"] }),
    onSuccess: (job) => {
      queries.setQueryData([...REPLAYS, job.id], job);
    },
  });
}
