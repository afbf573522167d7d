import type { ReactNode } from "react";

import { age, timeOfDay } from "@/lib/format";
import { useNow } from "@/lib/use-now";

import { cx } from "./class-names";

/** How long ago that was; the clock of all ages ticks together, and each is drawn only when its words change. */
export function Age({ at, className }: { at: number; className?: string }): ReactNode {
  return (
    <time
      dateTime={new Date(at).toISOString()}
      title={timeOfDay(at)}
      className={cx("text-right text-xs whitespace-nowrap text-faint tabular-nums", className)}
    >
      {useNow((now) => age(now - at))}
    </time>
  );
}
