/** Provides one live connection for the page. */
import { useQueryClient } from "@tanstack/react-query";
import { createContext, use, useEffect, useState, type ReactNode } from "react";

import { WS_URL } from "@/config";

import { LiveClient } from "./client";

const LiveContext = createContext<LiveClient | null>(null);

export function LiveProvider({ children }: { children: ReactNode }): ReactNode {
  const queries = useQueryClient();
  const [client] = useState(() => new LiveClient(queries, WS_URL));

  useEffect(() => {
    client.start();
    return () => {
      client.stop();
    };
  }, [client]);

  return <LiveContext value={client}>{children}</LiveContext>;
}

/** The client's methods. The data that it receives is in the query cache. */
export function useLiveClient(): LiveClient {
  const client = use(LiveContext);
  if (!client) throw new Error("LiveProvider is missing");
  return client;
}
