/** Deliveries that did not become events. */
import { keepPreviousData, useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import type { InfiniteData, UseInfiniteQueryResult, UseMutationResult, UseQueryResult } from "@tanstack/react-query";

import { apiUrl, get, post, type Query, type Schemas } from "@/api/http";
import { boundsOf } from "@/lib/flows";
import { serverNow } from "@/lib/server-clock";
import type { LetterFilter } from "@/state/address";

export type DeadLetter = Schemas["DeadLetterView"];
export type LetterGroup = Schemas["DeadLetterGroup"];
export type Result = Schemas["Result"];
type Page = Schemas["DeadLetterPage"];

const LETTERS = ["dead-letters"] as const;
const SHOWN = 5;
const PAGE = 50;
const REFRESH_MS = 10_000;

/** What the API takes for a filter. */
export function letterQuery({ cloud, status, field, reason, replayed, ...time }: LetterFilter): Query {
  const taken = replayed && String(replayed === "yes");
  return { source: cloud, status, field, reason, replayed: taken, ...boundsOf(time, serverNow()) };
}

export function useLatestLetters(): UseQueryResult<DeadLetter[]> {
  return useQuery({
    queryKey: [...LETTERS, "latest"],
    queryFn: async ({ signal }) => (await get<Page>(apiUrl("/api/v1/dead-letters", { limit: SHOWN }), signal)).items,
    refetchInterval: REFRESH_MS,
  });
}

export function useGroups(filter: LetterFilter): UseQueryResult<LetterGroup[]> {
  return useQuery({
    queryKey: [...LETTERS, "groups", filter],
    queryFn: ({ signal }) => get<LetterGroup[]>(apiUrl("/api/v1/dead-letters/groups", letterQuery(filter)), signal),
    refetchInterval: REFRESH_MS,
    placeholderData: keepPreviousData,
  });
}

/** Page by page; while the first is all that is shown, it is kept current. */
export function useLetters(filter: LetterFilter): UseInfiniteQueryResult<DeadLetter[]> {
  return useInfiniteQuery({
    queryKey: [...LETTERS, "list", filter],
    queryFn: ({ pageParam, signal }) =>
      get<Page>(apiUrl("/api/v1/dead-letters", { ...letterQuery(filter), after: pageParam, limit: PAGE }), signal),
    initialPageParam: "",
    getNextPageParam: (page) => page.next_cursor,
    select: ({ pages }: InfiniteData<Page>) => pages.flatMap((page) => page.items),
    refetchInterval: ({ state }) => (state.data?.pages.length === 1 ? REFRESH_MS : false),
    placeholderData: keepPreviousData,
  });
}

export function useLetter(id: number): UseQueryResult<DeadLetter> {
  return useQuery({
    queryKey: [...LETTERS, "letter", id],
    queryFn: ({ signal }) => get<DeadLetter>(apiUrl(`/api/v1/dead-letters/${id}`), signal),
  });
}

/** Take a letter in again; a body that is null is the one that was received. */
export function useReplayLetter(id: number): UseMutationResult<Result[], Error, string | null> {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: async (body) => {
      const url = apiUrl(`/api/v1/dead-letters/${id}/replay`);
      const answer = await post<Result | Schemas["Results"]>(url, undefined, { body });
      return "results" in answer ? answer.results : [answer];
    },
    onSettled: () => queries.invalidateQueries({ queryKey: LETTERS }),
  });
}
