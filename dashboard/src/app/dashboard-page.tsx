import { lazy, Suspense, type ReactNode } from "react";

import { Announcer } from "@/features/connection/announcer";
import { ROWS_ID } from "@/lib/row-focus";
import { useAddress, type View } from "@/state/address";
import { Skeleton } from "@/ui/notice";

import { EventsView } from "./events-view";
import { Header } from "./header";
import { OutageBanner } from "./outage-banner";
import { Overlays } from "./overlays";
import { useShortcuts } from "./shortcuts";

const Overview = lazy(() => import("@/features/reconciliation/overview"));
const DeadLettersView = lazy(() => import("./dead-letters-view"));
const Incidents = lazy(() => import("@/features/incidents/incidents"));
const RulesView = lazy(() => import("@/features/rules/rules-view"));
const Balances = lazy(() => import("@/features/balances/balances"));
const OrderPage = lazy(() => import("./order-page"));

const SKIP_TO: Record<View, string> = {
  events: "Skip to the events",
  reconciliation: "Skip to the orders",
  "dead-letters": "Skip to the dead letters",
  rules: "Skip to the flows",
};

export function DashboardPage(): ReactNode {
  useShortcuts();
  const { view, instance } = useAddress();
  return (
    <>
      {!instance && (
        <a
          href={`#${ROWS_ID}`}
          className="sr-only focus:not-sr-only focus:fixed focus:top-2 focus:left-2 focus:z-20 focus:rounded-lg focus:bg-panel focus:px-3 focus:py-2"
        >
          {SKIP_TO[view]}
        </a>
      )}
      <Header />
      <main className="mx-auto flex max-w-[90rem] flex-col gap-3 px-3 py-4 sm:gap-4 sm:px-6 sm:py-5">
        <OutageBanner />
        {view === "events" ? (
          <EventsView />
        ) : (
          <Suspense fallback={<Skeleton className="h-96" />}>
            {view === "dead-letters" ? (
              <DeadLettersView />
            ) : view === "rules" ? (
              <RulesView />
            ) : instance ? (
              <OrderPage key={`${instance.flow}/${instance.key}`} instanceKey={instance} />
            ) : (
              <>
                <Incidents />
                <Overview />
                <Balances />
              </>
            )}
          </Suspense>
        )}
      </main>
      <Overlays />
      <Announcer />
    </>
  );
}
