import type { CSSProperties, ReactNode } from "react";

import { percent, shortCount } from "@/lib/format";
import { sources, type Source } from "@/lib/sources";
import { usePulse } from "@/live/keys";
import { cx } from "@/ui/class-names";
import { colorsOf, SourceMark } from "@/ui/source-mark";

import { useTotals } from "./api";
import { StatCard } from "./stat-card";

const SECONDS = 60;
const NONE = Array.from({ length: SECONDS }, () => 0);
/** The most cards beside each other; more are divided into equal rows. */
const MAX_COLUMNS = 6;

/** The key figures at the top: all events, and the events of each source. */
export function StatsCards(): ReactNode {
  const { totals, query } = useTotals();
  const unknown = query.error ? undefined : null;
  const wait = query.error ? "not available" : "loading";
  const series = usePulse()?.series;
  const minute = (source: Source): readonly number[] => series?.[source]?.slice(-SECONDS) ?? NONE;
  const infos = sources();
  const all = infos.map(({ name }) => minute(name)).reduce(addUpEach, NONE);
  const cards = infos.length + 1;
  const columns = Math.ceil(cards / Math.ceil(cards / MAX_COLUMNS));

  return (
    <section
      aria-label="Totals"
      style={{ "--columns": columns } as CSSProperties}
      className={cx(
        "grid grid-cols-2 gap-3 sm:gap-4 xl:grid-cols-[repeat(var(--columns),minmax(0,1fr))]",
        cards % 2 === 1 && "max-xl:first:*:col-span-2",
      )}
    >
      <StatCard
        title="All events"
        value={totals ? totals.total : unknown}
        note={totals ? `${shortCount(totals.last24h)} in 24 h` : wait}
        minute={all}
        color="var(--color-accent)"
      />
      {infos.map(({ name, label }) => (
        <StatCard
          key={name}
          title={label}
          mark={<SourceMark source={name} />}
          value={totals ? (totals.stored[name] ?? 0) : unknown}
          note={totals ? share(totals.stored[name] ?? 0, totals.total) : wait}
          minute={minute(name)}
          color={colorsOf(name).line}
        />
      ))}
    </section>
  );
}

const addUpEach = (sum: readonly number[], one: readonly number[]): readonly number[] =>
  sum.map((value, index) => value + (one[index] ?? 0));

const share = (stored: number, total: number): string =>
  total === 0 ? "none yet" : `${percent(stored, total)} of all`;
