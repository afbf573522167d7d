import type { ReactNode } from "react";

import { count, rate } from "@/lib/format";
import { Skeleton } from "@/ui/notice";

import { Sparkline } from "./sparkline";

interface StatCardProps {
  title: string;
  mark?: ReactNode;
  /** Null while it is loading; undefined when it is not available. */
  value: number | null | undefined;
  note: string;
  /** Events in each of the last 60 seconds, oldest first. */
  minute: readonly number[];
  /** A colour of CSS. */
  color: string;
}

/** Seconds over which the rate is averaged: a single second varies too much. */
const RATE_SECONDS = 10;

export function StatCard({ title, mark, value, note, minute, color }: StatCardProps): ReactNode {
  const perSecond = minute.slice(-RATE_SECONDS).reduce((sum, events) => sum + events, 0) / RATE_SECONDS;
  return (
    <article
      aria-label={title}
      className="flex min-w-0 flex-col rounded-xl border border-line bg-panel px-4 pt-3.5 pb-3 shadow-panel sm:px-5"
    >
      <h2 className="flex items-center gap-2 text-[13px] font-medium text-soft">
        {mark}
        {title}
      </h2>
      <p className="mt-1.5 text-[26px] leading-8 font-semibold tracking-tight tabular-nums sm:text-[28px]">
        {value === null ? <Skeleton className="my-1 h-6 w-28" /> : value === undefined ? "–" : count(value)}
      </p>
      <div className="mt-0.5 flex items-baseline justify-between gap-2 text-xs text-faint">
        <span className="truncate">{note}</span>
        <span className="font-medium whitespace-nowrap text-soft tabular-nums">{rate(perSecond)}/s</span>
      </div>
      <div className="mt-2.5">
        <Sparkline values={minute} color={color} />
      </div>
    </article>
  );
}
