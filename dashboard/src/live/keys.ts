/** What the live stream leaves in the query cache, and how a component reads it. */
import { skipToken, useQuery } from "@tanstack/react-query";

import { NO_FILTER } from "@/lib/filter";

import { NO_FLOWS, type LiveFlows } from "./flows";
import { NOTHING_COUNTED, type Counted, type Feed, type Pulse } from "./model";

export type Connection =
  | { phase: "connecting" }
  /** `catchingUp`: what was missed is being fetched. */
  | { phase: "live"; catchingUp: boolean }
  /** `retryAt`: by the server's clock, as all times. */
  | { phase: "waiting"; retryAt: number };

export const FEED = ["live", "feed"] as const;
export const COUNTED = ["live", "counted"] as const;
export const FLOWS = ["live", "flows"] as const;
export const PULSE = ["live", "pulse"] as const;
export const CONNECTION = ["live", "connection"] as const;

const NO_ROWS: Feed = { rows: [], filter: NO_FILTER, arrived: 0, untold: 0, sampled: false };

/** Written by the stream alone: never fetched, never forgotten, and not compared field by field. */
function useWritten<T>(queryKey: readonly string[], initialData: T): T {
  const { data = initialData } = useQuery<T>({
    queryKey,
    queryFn: skipToken,
    staleTime: Infinity,
    gcTime: Infinity,
    structuralSharing: false,
  });
  return data;
}

export const useFeed = (): Feed => useWritten(FEED, NO_ROWS);
export const useCounted = (): Counted => useWritten(COUNTED, NOTHING_COUNTED);
export const useFlows = (): LiveFlows => useWritten(FLOWS, NO_FLOWS);
/** Null in the first second. */
export const usePulse = (): Pulse | null => useWritten<Pulse | null>(PULSE, null);
export const useConnection = (): Connection => useWritten<Connection>(CONNECTION, { phase: "connecting" });
