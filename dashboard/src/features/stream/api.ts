/** Events that were stored before the page was opened. */
import { useQuery, type UseQueryResult } from "@tanstack/react-query";

import { apiUrl, get, type Schemas } from "@/api/http";
import type { Filter } from "@/lib/filter";
import { HISTORY } from "@/live/client";
import { MAX_ROWS, type Row } from "@/live/model";

export type History = UseQueryResult<Row[]>;

/**
 * The last events that a filter finds in the store, as rows. The API compares order ids as a whole, so a text finds
 * older events only when it is one.
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

function toRows(page: Schemas["EventPage"]): Row[] {
  return page.items.map((event) => ({
    kind: "event",
    key: `${event.source}/${event.id}`,
    event,
    receivedAt: Date.parse(event.received_at),
    replay: null,
  }));
}
