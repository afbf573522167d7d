/** Deliveries that did not become events. */
import { useQuery, type UseQueryResult } from "@tanstack/react-query";

import { apiUrl, get, type Schemas } from "@/api/http";
import { AGGREGATES } from "@/live/client";

export type DeadLetter = Schemas["DeadLetterView"];

const SHOWN = 5;
const REFRESH_MS = 10_000;

export function useDeadLetters(): UseQueryResult<DeadLetter[]> {
  return useQuery({
    queryKey: [...AGGREGATES, "dead-letters"],
    queryFn: async ({ signal }) => {
      const page = await get<Schemas["DeadLetterPage"]>(apiUrl("/api/v1/dead-letters", { limit: SHOWN }), signal);
      return page.items;
    },
    refetchInterval: REFRESH_MS,
  });
}
