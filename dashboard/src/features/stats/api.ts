/** The totals: the API's counts plus those of the stream. */
import { useQuery, type UseQueryResult } from "@tanstack/react-query";

import { apiUrl, get, type Schemas } from "@/api/http";
import { SOURCES, type Source } from "@/lib/clouds";
import { AGGREGATES } from "@/live/client";
import { useStreamCounts } from "@/live/keys";
import type { StreamCounts } from "@/live/model";
import { useLiveClient } from "@/live/provider";

const REFRESH_MS = 5000;

type Stats = Schemas["Stats"];

export interface Totals {
  stored: Record<Source, number>;
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
  const stored = { aws: 0, gcp: 0, azure: 0 };
  let fresh = 0;
  for (const source of SOURCES) {
    const more = now.stored[source] - before.stored[source];
    stored[source] = (stats.events_by_source[source] ?? 0) + more;
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
