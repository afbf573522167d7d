import type { ReactNode } from "react";

import { age, ago, timeOfDay } from "@/lib/format";
import { useNow } from "@/lib/use-now";

import { cx } from "./class-names";

/** The age of a moment, for a column. One clock updates all ages, and React renders an age only when its text changes. */
export function Age({ at, className }: { at: number; className?: string }): ReactNode {
  return (
    <Time at={at} className={cx("text-right", className)}>
      {useNow((now) => age(now - at))}
    </Time>
  );
}

/** The age of a moment, for a sentence: `12 s ago`, `just now`. */
export function Ago({ at }: { at: number }): ReactNode {
  return <Time at={at}>{useNow((now) => ago(now - at))}</Time>;
}

function Time({ at, className, children }: { at: number; className?: string; children: ReactNode }): ReactNode {
  return (
    <time
      dateTime={new Date(at).toISOString()}
      title={timeOfDay(at)}
      className={cx("text-xs whitespace-nowrap text-faint tabular-nums", className)}
    >
      {children}
    </time>
  );
}
