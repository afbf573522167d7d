/** The health of each service, which the API probes every few seconds. */
import { useQuery, type UseQueryResult } from "@tanstack/react-query";

import { apiUrl, get, type Schemas } from "@/api/http";
import { observeServerTime } from "@/lib/server-clock";

const REFRESH_MS = 5000;
/** The API responds with 503 when the database is unavailable; the body names the reason. */
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
