import type { ReactNode } from "react";

import { CLOUD_NAMES, SOURCES, type Source } from "@/lib/clouds";
import { percent, shortCount } from "@/lib/format";
import { usePulse } from "@/live/keys";
import { CloudMark } from "@/ui/cloud-mark";

import { useTotals } from "./api";
import { StatCard } from "./stat-card";

const SECONDS = 60;
const NONE = Array.from({ length: SECONDS }, () => 0);
const COLORS: Record<Source, string> = { aws: "text-aws-line", gcp: "text-gcp-line", azure: "text-azure-line" };

/** The four key figures at the top: all events, and the events of each cloud. */
export function StatsCards(): ReactNode {
  const { totals, query } = useTotals();
  const unknown = query.error ? undefined : null;
  const wait = query.error ? "not available" : "loading";
  const series = usePulse()?.series;
  const minute = (source: Source): readonly number[] => series?.[source].slice(-SECONDS) ?? NONE;
  const all = SOURCES.map(minute).reduce((sum, one) => sum.map((value, index) => value + (one[index] ?? 0)));

  return (
    <section aria-label="Totals" className="grid grid-cols-2 gap-3 sm:gap-4 xl:grid-cols-4">
      <StatCard
        title="All events"
        value={totals ? totals.total : unknown}
        note={totals ? `${shortCount(totals.last24h)} in 24 h` : wait}
        minute={all}
        color="text-accent"
      />
      {SOURCES.map((source) => (
        <StatCard
          key={source}
          title={CLOUD_NAMES[source]}
          mark={<CloudMark source={source} />}
          value={totals ? totals.stored[source] : unknown}
          note={totals ? share(totals.stored[source], totals.total) : wait}
          minute={minute(source)}
          color={COLORS[source]}
        />
      ))}
    </section>
  );
}

const share = (stored: number, total: number): string =>
  total === 0 ? "none yet" : `${percent(stored, total)} of all`;
