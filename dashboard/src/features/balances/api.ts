/** Requests for balances: what producers say they have published, and what arrived of it. */
import { useQuery } from "@tanstack/react-query";
import type { UseQueryResult } from "@tanstack/react-query";

import { apiUrl, get, type Schemas } from "@/api/http";

export type Balance = Schemas["Balance"];

const SHOWN = 30;
/** Helios counts a minute once; what is missing may arrive later. */
const REFRESH_MS = 15_000;

/** The balances of the last minutes, the newest minute first; with missing events only, if asked. */
export function useBalances(onlyMissing: boolean): UseQueryResult<Balance[]> {
  return useQuery({
    queryKey: ["balances", onlyMissing],
    queryFn: async ({ signal }) => {
      const url = apiUrl("/api/v1/balances", { state: onlyMissing ? "missing" : undefined, limit: SHOWN });
      return (await get<Schemas["BalancePage"]>(url, signal)).items;
    },
    refetchInterval: REFRESH_MS,
  });
}
