import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import type { ReactNode } from "react";

import { LiveProvider } from "@/live/provider";

import { DashboardPage } from "./dashboard-page";
import { ErrorBoundary } from "./error-boundary";
import { Sourced } from "./sourced";

// The page refetches aggregates every few seconds; a retry in between would only delay the error message.
const queries = new QueryClient({ defaultOptions: { queries: { retry: false, refetchOnWindowFocus: true } } });

export function App(): ReactNode {
  return (
    <ErrorBoundary>
      <QueryClientProvider client={queries}>
        <LiveProvider>
          <Sourced>
            <DashboardPage />
          </Sourced>
        </LiveProvider>
      </QueryClientProvider>
    </ErrorBoundary>
  );
}
