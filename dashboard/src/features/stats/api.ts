/** The totals: what the API counted, and what the stream has added since. */
import { useQuery, type UseQueryResult } from "@tanstack/react-query";

import { apiUrl, get, type Schemas } from "@/api/http";
import { SOURCES, type Source } from "@/lib/clouds";
import { AGGREGATES } from "@/live/client";
import { useCounted } from "@/live/keys";
import type { Counted } from "@/live/model";
import { useLiveClient } from "@/live/provider";

const REFRESH_MS = 5000;

interface Baseline {
  stats: Schemas["Stats"];
  /** What the stream had counted when the answer came. */
  counted: Counted;
}

function useBaseline(): UseQueryResult<Baseline> {
  const client = useLiveClient();
  return useQuery({
    queryKey: [...AGGREGATES, "stats"],
    queryFn: async ({ signal }): Promise<Baseline> => {
      const stats = await get<Schemas["Stats"]>(apiUrl("/api/v1/stats"), signal);
      return { stats, counted: client.counted() };
    },
    refetchInterval: REFRESH_MS,
  });
}

export interface Totals {
  stored: Record<Source, number>;
  total: number;
  last24h: number;
  duplicate: number;
  contradictory: number;
  rejected: number;
}

/** The totals as of now, and the query that they rest on. */
export function useTotals(): { totals: Totals | null; query: UseQueryResult<Baseline> } {
  const query = useBaseline();
  const counted = useCounted();
  return { totals: query.data ? addUp(query.data, counted) : null, query };
}

/** What was added after the answer is exact as well; an event that both knew is put right by the next answer. */
export function addUp({ stats, counted: before }: Baseline, now: Counted): Totals {
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
