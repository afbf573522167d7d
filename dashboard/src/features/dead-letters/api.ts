/** Requests for dead letters: deliveries that did not become events. */
import { keepPreviousData, useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import type { InfiniteData, UseInfiniteQueryResult, UseMutationResult, UseQueryResult } from "@tanstack/react-query";

import { apiUrl, get, post, type Query, type Schemas } from "@/api/http";
import { boundsOf } from "@/lib/flows";
import { serverNow } from "@/lib/server-clock";
import type { DeadLetterFilter } from "@/state/address";

export type DeadLetter = Schemas["DeadLetterView"];
export type DeadLetterGroup = Schemas["DeadLetterGroup"];
export type Result = Schemas["Result"];
type Page = Schemas["DeadLetterPage"];

const DEAD_LETTERS = ["dead-letters"] as const;
const SHOWN = 5;
const PAGE = 50;
const REFRESH_MS = 10_000;

/** The filter as parameters of the API. */
export function deadLetterQuery({ cloud, status, field, reason, replayed, ...time }: DeadLetterFilter): Query {
  const taken = replayed && String(replayed === "yes");
  return { source: cloud, status, field, reason, replayed: taken, ...boundsOf(time, serverNow()) };
}

export function useLatestDeadLetters(): UseQueryResult<DeadLetter[]> {
  return useQuery({
    queryKey: [...DEAD_LETTERS, "latest"],
    queryFn: async ({ signal }) => (await get<Page>(apiUrl("/api/v1/dead-letters", { limit: SHOWN }), signal)).items,
    refetchInterval: REFRESH_MS,
  });
}

export function useDeadLetterGroups(filter: DeadLetterFilter): UseQueryResult<DeadLetterGroup[]> {
  return useQuery({
    queryKey: [...DEAD_LETTERS, "groups", filter],
    queryFn: ({ signal }) => get<DeadLetterGroup[]>(apiUrl("/api/v1/dead-letters/groups", deadLetterQuery(filter)), signal),
    refetchInterval: REFRESH_MS,
    placeholderData: keepPreviousData,
  });
}

/** Page by page. While only the first page is shown, it refreshes automatically. */
export function useDeadLetters(filter: DeadLetterFilter): UseInfiniteQueryResult<DeadLetter[]> {
  return useInfiniteQuery({
    queryKey: [...DEAD_LETTERS, "list", filter],
    queryFn: ({ pageParam, signal }) =>
      get<Page>(apiUrl("/api/v1/dead-letters", { ...deadLetterQuery(filter), after: pageParam, limit: PAGE }), signal),
    initialPageParam: "",
    getNextPageParam: (page) => page.next_cursor,
    select: ({ pages }: InfiniteData<Page>) => pages.flatMap((page) => page.items),
    refetchInterval: ({ state }) => (state.data?.pages.length === 1 ? REFRESH_MS : false),
    placeholderData: keepPreviousData,
  });
}

export function useDeadLetter(id: number): UseQueryResult<DeadLetter> {
  return useQuery({
    queryKey: [...DEAD_LETTERS, "detail", id],
    queryFn: ({ signal }) => get<DeadLetter>(apiUrl(`/api/v1/dead-letters/${id}`), signal),
  });
}

/** Replays a dead letter; null as the body replays the received body. */
export function useReplayDeadLetter(id: number): UseMutationResult<Result[], Error, Schemas["Repair"]> {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: async (repair) => {
      const url = apiUrl(`/api/v1/dead-letters/${id}/replay`);
      const answer = await post<Result | Schemas["Results"]>(url, undefined, repair);
      return "results" in answer ? answer.results : [answer];
    },
    onSettled: () => queries.invalidateQueries({ queryKey: DEAD_LETTERS }),
  });
}
