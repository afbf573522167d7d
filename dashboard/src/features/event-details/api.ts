/** The request for one event with its payload. */
import { useQuery, type UseQueryResult } from "@tanstack/react-query";

import { useAccess } from "@/api/access";
import { apiUrl, getText, type Schemas } from "@/api/http";
import type { EventKey } from "@/lib/event-key";
import { indent, member } from "@/lib/json-text";

export interface EventDetails {
  event: Schemas["Event"];
  /** The whole event, as text. */
  normalised: string;
  /** The payload's original text, with the sender's number formats and member order. */
  payload: string;
}

export function eventUrl({ source, producer, id }: EventKey): string {
  return apiUrl(`/api/v1/events/${source}/${encodeURIComponent(id)}`, { producer });
}

export function useEvent(key: EventKey): UseQueryResult<EventDetails> {
  return useQuery({
    queryKey: ["event", key.source, key.producer, key.id],
    queryFn: async ({ signal }) => {
      const text = await getText(eventUrl(key), signal);
      return {
        event: JSON.parse(text) as Schemas["Event"],
        normalised: indent(text),
        payload: indent(member(text, "data") ?? ""),
      };
    },
    // A stored event never changes.
    staleTime: Infinity,
  });
}

/**
 * A POSIX shell command that fetches the same URL. The command names the token's variable, so that no shell history
 * holds the token.
 */
export function asCurl(url: string): string {
  const token = useAccess.getState().token ? '-H "Authorization: Bearer $HELIOS_TOKEN" ' : "";
  return `curl --fail-with-body ${token}'${url.replaceAll("'", "'\\''")}'`;
}
