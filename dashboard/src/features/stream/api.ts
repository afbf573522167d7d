/** Events that were stored before the page was opened. */
import {
  useInfiniteQuery,
  useQuery,
  type InfiniteData,
  type UseInfiniteQueryResult,
  type UseQueryResult,
} from "@tanstack/react-query";

import { apiUrl, get, type Schemas } from "@/api/http";
import { keyText } from "@/lib/event-key";
import type { Filter } from "@/lib/filter";
import { boundsOf } from "@/lib/flows";
import { serverNow } from "@/lib/server-clock";
import { HISTORY } from "@/live/client";
import { MAX_ROWS, type Row } from "@/live/model";
import type { EventTime } from "@/state/address";

export type History = UseQueryResult<Row[]>;

/**
 * The latest stored events that match a filter, as rows. The API compares whole order IDs, so a text finds older
 * events only if it is a complete order ID.
 */
export function useHistory({ source, type, text }: Filter): History {
  const url = apiUrl("/api/v1/events", { source, type, order_id: text, limit: MAX_ROWS });
  return useQuery({
    queryKey: [...HISTORY, url],
    queryFn: ({ signal }) => get<Schemas["EventPage"]>(url, signal),
    select: toRows,
    staleTime: Infinity,
    gcTime: 60_000,
  });
}

/** The events of a period, page by page, last received first. */
export function useStored({ source, type, text }: Filter, time: EventTime): UseInfiniteQueryResult<Row[]> {
  return useInfiniteQuery({
    queryKey: ["stored", source, type, text, time],
    queryFn: ({ pageParam, signal }) => {
      const query = { source, type, order_id: text, ...boundsOf(time, serverNow()), after: pageParam, limit: MAX_ROWS };
      return get<Schemas["EventPage"]>(apiUrl("/api/v1/events", query), signal);
    },
    initialPageParam: "",
    getNextPageParam: (page) => page.next_cursor,
    select: ({ pages }: InfiniteData<Schemas["EventPage"]>) => pages.flatMap(toRows),
    refetchOnWindowFocus: false,
  });
}

function toRows(page: Schemas["EventPage"]): Row[] {
  return page.items.map((event) => ({
    kind: "event",
    key: keyText(event),
    event,
    receivedAt: Date.parse(event.received_at),
    replay: null,
  }));
}
