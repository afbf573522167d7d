/** How the parts of Helios are, probed by the API every few seconds. */
import { useQuery, type UseQueryResult } from "@tanstack/react-query";

import { apiUrl, get, type Schemas } from "@/api/http";
import { observeServerTime } from "@/lib/server-clock";

const REFRESH_MS = 5000;
/** The API answers 503 when the database is away, and the answer says so. */
const ACCEPT = [503];

export function useHealth(): UseQueryResult<Schemas["DetailedHealth"]> {
  return useQuery({
    queryKey: ["health"],
    queryFn: async ({ signal }) => {
      const requestedAt = Date.now();
      const health = await get<Schemas["DetailedHealth"]>(apiUrl("/api/v1/health/detailed"), signal, ACCEPT);
      observeServerTime(health.timestamp, requestedAt, Date.now());
      return health;
    },
    refetchInterval: REFRESH_MS,
  });
}
