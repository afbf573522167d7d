import type { ReactNode } from "react";

import { sourceName } from "@/lib/sources";

/** One alert for a silent source, instead of an issue for each order that waits for it. */
export function Silence({ sources }: { sources: readonly string[] }): ReactNode {
  if (sources.length === 0) return null;
  const names = sources.map(sourceName).join(" and ");
  return (
    <p role="alert" className="rounded-xl bg-warn-soft px-4 py-2.5 text-[13px] text-ink">
      <strong className="font-semibold text-warn">{names} {sources.length > 1 ? "are" : "is"} silent.</strong> Helios
      receives events from other sources only. Orders that wait for {names} alone stay open. Check the delivery from{" "}
      {names} to Helios first.
    </p>
  );
}
