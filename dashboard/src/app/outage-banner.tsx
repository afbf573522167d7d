import type { ReactNode } from "react";

import { useTotals } from "@/features/stats/api";
import { timeOfDay } from "@/lib/format";

/** Tells the viewer when totals are old or missing because the API does not respond. */
export function OutageBanner(): ReactNode {
  const { query } = useTotals();
  if (!query.error) return null;
  const age = query.data
    ? `The totals were last updated at ${timeOfDay(query.dataUpdatedAt)}.`
    : "No totals are available yet.";
  return (
    <p role="alert" className="rounded-xl bg-bad-soft px-4 py-2.5 text-[13px] text-ink">
      <strong className="font-semibold text-bad">{query.error.message}</strong> {age} The page retries every few
      seconds. You do not need to reload it.
    </p>
  );
}
