import type { ReactNode } from "react";

import { LatestDeadLetters } from "@/features/dead-letters/latest-dead-letters";
import { SystemHealth } from "@/features/health/system-health";
import { Distribution } from "@/features/stats/distribution";
import { CountsLine } from "@/features/stats/counts-line";
import { StatsCards } from "@/features/stats/stats-cards";
import { EventStream } from "@/features/stream/event-stream";

import { ThroughputPanel } from "./throughput-panel";

/** The live totals, charts and events. */
export function EventsView(): ReactNode {
  return (
    <>
      <StatsCards />
      <CountsLine />
      <div className="grid grid-cols-1 gap-3 sm:gap-4 xl:grid-cols-3">
        <ThroughputPanel />
        <Distribution />
        {/* On a narrow screen the events come before the charts, so that Tab reaches them first. */}
        <div className="min-w-0 max-xl:order-first xl:col-span-2">
          <EventStream />
        </div>
        <div className="flex min-w-0 flex-col gap-3 sm:gap-4">
          <SystemHealth />
          <LatestDeadLetters />
        </div>
      </div>
    </>
  );
}
