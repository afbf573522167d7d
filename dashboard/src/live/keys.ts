/** The keys of the live data in the query cache, and the hooks that read it. */
import { skipToken, useQuery } from "@tanstack/react-query";

import { NO_FILTER } from "@/lib/filter";

import { NO_FLOWS, type LiveFlows } from "./flows";
import { NO_COUNTS, type StreamCounts, type Feed, type Pulse } from "./model";

export type Connection =
  | { phase: "connecting" }
  /** `catchingUp`: the page is fetching missed frames. */
  | { phase: "live"; catchingUp: boolean }
  /** `retryAt`: by the server's clock, like all times. */
  | { phase: "waiting"; retryAt: number };

export const FEED = ["live", "feed"] as const;
export const STREAM_COUNTS = ["live", "counted"] as const;
export const FLOWS = ["live", "flows"] as const;
export const PULSE = ["live", "pulse"] as const;
export const CONNECTION = ["live", "connection"] as const;

const NO_ROWS: Feed = { rows: [], filter: NO_FILTER, arrived: 0, undecided: 0, sampled: false };

/** Only the stream writes these values: they are never fetched, never removed, and not compared field by field. */
function useStreamValue<T>(queryKey: readonly string[], initialData: T): T {
  const { data = initialData } = useQuery<T>({
    queryKey,
    queryFn: skipToken,
    staleTime: Infinity,
    gcTime: Infinity,
    structuralSharing: false,
  });
  return data;
}

export const useFeed = (): Feed => useStreamValue(FEED, NO_ROWS);
export const useStreamCounts = (): StreamCounts => useStreamValue(STREAM_COUNTS, NO_COUNTS);
export const useFlows = (): LiveFlows => useStreamValue(FLOWS, NO_FLOWS);
/** Null during the first second. */
export const usePulse = (): Pulse | null => useStreamValue<Pulse | null>(PULSE, null);
export const useConnection = (): Connection => useStreamValue<Connection>(CONNECTION, { phase: "connecting" });
