import type { ReactNode } from "react";

import { isSource } from "@/lib/clouds";

import { CloudBadge } from "./cloud-mark";

/** The badge of a cloud, or a grey badge for any other source. */
export function SourceBadge({ source }: { source: string }): ReactNode {
  if (isSource(source)) return <CloudBadge source={source} />;
  return <span className="rounded-md bg-raised px-1.5 text-xs leading-5.5 font-semibold text-soft">{source}</span>;
}
