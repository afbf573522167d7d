/** The totals: the API's counts plus those of the stream. */
import { useQuery, type UseQueryResult } from "@tanstack/react-query";

import { apiUrl, get, type Schemas } from "@/api/http";
import type { Source } from "@/lib/sources";
import { AGGREGATES } from "@/live/client";
import { useStreamCounts } from "@/live/keys";
import type { StreamCounts } from "@/live/model";
import { useLiveClient } from "@/live/provider";

const REFRESH_MS = 5000;

type Stats = Schemas["Stats"];

export interface Totals {
  /** Of every source, declared or not, that has stored an event. */
  stored: Readonly<Record<Source, number>>;
  total: number;
  last24h: number;
  duplicate: number;
  contradictory: number;
  rejected: number;
}

/** The current totals, and the query that they are based on. */
export function useTotals(): { totals: Totals | null; query: UseQueryResult<Stats> } {
  const client = useLiveClient();
  const query = useQuery({
    queryKey: [...AGGREGATES, "stats"],
    queryFn: ({ signal }) => get<Stats>(apiUrl("/api/v1/stats"), signal),
    refetchInterval: REFRESH_MS,
  });
  const now = useStreamCounts();
  const stats = query.data;
  return { totals: stats ? addUp(stats, client.countsAt(stats.position, now), now) : null, query };
}

/** Exact: the response counts the frames up to its position, and `before` holds the counts of these frames. */
export function addUp(stats: Stats, before: StreamCounts, now: StreamCounts): Totals {
  const since = (field: "duplicate" | "contradictory" | "rejected"): number => now[field] - before[field];
  const stored: Record<Source, number> = { ...stats.events_by_source };
  let fresh = 0;
  for (const [source, events] of Object.entries(now.stored)) {
    const more = events - (before.stored[source] ?? 0);
    stored[source] = (stored[source] ?? 0) + more;
    fresh += more;
  }
  return {
    stored,
    total: stats.total_events + fresh,
    last24h: stats.last_24h + fresh,
    duplicate: stats.duplicates + since("duplicate"),
    contradictory: stats.contradictory + since("contradictory"),
    rejected: stats.rejected + since("rejected"),
  };
}
