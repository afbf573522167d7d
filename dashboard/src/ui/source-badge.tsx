import type { ReactNode } from "react";

import { isSource } from "@/lib/clouds";

import { CloudBadge } from "./cloud-mark";

/** A cloud as everywhere; whatever else a delivery may come from, in grey. */
export function SourceBadge({ source }: { source: string }): ReactNode {
  if (isSource(source)) return <CloudBadge source={source} />;
  return <span className="rounded-md bg-raised px-1.5 text-xs leading-5.5 font-semibold text-soft">{source}</span>;
}
