/** One event with its payload, as the API sends it. */
import { useQuery, type UseQueryResult } from "@tanstack/react-query";

import { useAccess } from "@/api/access";
import { apiUrl, getText, type Schemas } from "@/api/http";
import { indent, member } from "@/lib/json-text";
import type { EventKey } from "@/state/address";

export interface EventDetails {
  event: Schemas["Event"];
  /** All of it, as text. */
  normalised: string;
  /** The payload as it was sent: its numbers and the order of its members are the sender's. */
  payload: string;
}

export function eventUrl({ source, id }: EventKey): string {
  return apiUrl(`/api/v1/events/${source}/${encodeURIComponent(id)}`);
}

export function useEvent(key: EventKey): UseQueryResult<EventDetails> {
  return useQuery({
    queryKey: ["event", key.source, key.id],
    queryFn: async ({ signal }) => {
      const text = await getText(eventUrl(key), signal);
      return {
        event: JSON.parse(text) as Schemas["Event"],
        normalised: indent(text),
        payload: indent(member(text, "data") ?? ""),
      };
    },
    // An event never changes.
    staleTime: Infinity,
  });
}

/** A command for a POSIX shell that fetches the same; a token is the shell's to know, and in no history. */
export function asCurl(url: string): string {
  const token = useAccess.getState().token ? '-H "Authorization: Bearer $HELIOS_TOKEN" ' : "";
  return `curl --fail-with-body ${token}'${url.replaceAll("'", "'\\''")}'`;
}
