import { useQuery } from "@tanstack/react-query";
import { Fragment, useMemo, type ReactNode } from "react";

import { apiUrl, get, type Schemas } from "@/api/http";
import { setSources } from "@/lib/sources";

/** The page does not wait longer for the sources: while the API is down it shows the clouds. */
const LONGEST_WAIT_MS = 1000;
const RETRY_MS = 5000;

/** Renders its children once the sources are known, and mounts them again when the sources have changed. */
export function Sourced({ children }: { children: ReactNode }): ReactNode {
  const { data, isPending } = useQuery({
    queryKey: ["sources"],
    queryFn: ({ signal }) =>
      get<Schemas["Sources"]>(apiUrl("/api/v1/sources"), AbortSignal.any([signal, AbortSignal.timeout(LONGEST_WAIT_MS)])),
    refetchInterval: ({ state }) => (state.data ? false : RETRY_MS),
    staleTime: Infinity,
  });
  // During rendering, since the children read the sources when they render.
  const version = useMemo(() => {
    if (data) setSources(data);
    return data?.map(({ name }) => name).join();
  }, [data]);
  return isPending ? null : <Fragment key={version}>{children}</Fragment>;
}
