import { lazy, Suspense, type ReactNode } from "react";

import { timeOfDay } from "@/lib/format";
import { usePulse } from "@/live/keys";
import { WINDOW_SECONDS } from "@/live/throughput";
import { Skeleton } from "@/ui/notice";
import { Panel } from "@/ui/panel";

// Recharts is more than half of the JavaScript: the totals and the stream appear before it loads.
const ThroughputChart = lazy(() => import("@/features/charts/throughput-chart"));

const PLACE = <Skeleton className="mx-5 mb-5 h-52" />;

export function ThroughputPanel(): ReactNode {
  const pulse = usePulse();
  const partly = pulse && pulse.since > pulse.second - WINDOW_SECONDS;
  return (
    <Panel
      title="Throughput"
      className="xl:col-span-2"
      aside={
        <span className="text-xs text-faint">
          events per second, last 15 minutes{partly ? `, data since ${timeOfDay(pulse.since * 1000)}` : ""}
        </span>
      }
    >
      <Suspense fallback={PLACE}>{pulse ? <ThroughputChart pulse={pulse} /> : PLACE}</Suspense>
    </Panel>
  );
}
