import { useQuery } from "@tanstack/react-query";
import { Fragment, useMemo, type ReactNode } from "react";

import { apiUrl, get, type Schemas } from "@/api/http";
import { setSources, sources } from "@/lib/sources";

/** The page does not wait longer for the sources: while the API is down it shows the clouds. */
const LONGEST_WAIT_MS = 1000;
const RETRY_MS = 5000;

/**
 * Renders its children once the sources are known, or with the clouds while the API does not answer. Mounts them again,
 * and so loses what a viewer has opened or typed, only if an answer changes what is shown.
 */
export function Sourced({ children }: { children: ReactNode }): ReactNode {
  const { data, isFetched } = useQuery({
    queryKey: ["sources"],
    queryFn: ({ signal }) =>
      get<Schemas["Sources"]>(apiUrl("/api/v1/sources"), AbortSignal.any([signal, AbortSignal.timeout(LONGEST_WAIT_MS)])),
    refetchInterval: ({ state }) => (state.data ? false : RETRY_MS),
    staleTime: Infinity,
  });
  // During rendering, since the children read the sources when they render.
  const version = useMemo(() => {
    if (data) setSources(data);
    return sources()
      .map(({ name, label, colour, shape }) => [name, label, colour, shape].join(" "))
      .join();
  }, [data]);
  // Not `isPending`: a query without data is pending again during each retry.
  return isFetched ? <Fragment key={version}>{children}</Fragment> : null;
}
