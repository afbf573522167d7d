import type { ReactNode } from "react";

import { Announcer } from "@/features/connection/announcer";
import { DeadLetters } from "@/features/dead-letters/dead-letters";
import { EventDrawer } from "@/features/event-details/event-drawer";
import { SystemHealth } from "@/features/health/system-health";
import { Distribution } from "@/features/stats/distribution";
import { LedgerLine } from "@/features/stats/ledger-line";
import { StatsCards } from "@/features/stats/stats-cards";
import { EventStream } from "@/features/stream/event-stream";
import { STREAM_ID } from "@/features/stream/row-focus";


import { Header } from "./header";
import { OutageBanner } from "./outage-banner";
import { useShortcuts } from "./shortcuts";
import { ShortcutsDialog } from "./shortcuts-dialog";
import { ThroughputPanel } from "./throughput-panel";

export function DashboardPage(): ReactNode {
  useShortcuts();
  return (
    <>
      <a
        href={`#${STREAM_ID}`}
        className="sr-only focus:not-sr-only focus:fixed focus:top-2 focus:left-2 focus:z-20 focus:rounded-lg focus:bg-panel focus:px-3 focus:py-2"
      >
        To the live events
      </a>
      <Header />
      <main className="mx-auto flex max-w-[90rem] flex-col gap-3 px-3 py-4 sm:gap-4 sm:px-6 sm:py-5">
        <OutageBanner />
        <StatsCards />
        <LedgerLine />
        <div className="grid grid-cols-1 gap-3 sm:gap-4 xl:grid-cols-3">
          <ThroughputPanel />
          <Distribution />
          {/* On a narrow screen the events come before the charts, which nobody needs to tab through. */}
          <div className="min-w-0 max-xl:order-first xl:col-span-2">
            <EventStream />
          </div>
          <div className="flex min-w-0 flex-col gap-3 sm:gap-4">
            <SystemHealth />
            <DeadLetters />
          </div>
        </div>
      </main>
      <EventDrawer />
      <ShortcutsDialog />
      <Announcer />
    </>
  );
}
