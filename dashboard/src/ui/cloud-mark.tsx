import type { ReactNode } from "react";

import { CLOUD_NAMES, type Source } from "@/lib/clouds";

import { cx } from "./class-names";

/** A shape per cloud, so that colour is never the only distinction. */
const SHAPES: Record<Source, ReactNode> = {
  aws: <path d="M8 2.2 14.4 13.4H1.6Z" strokeLinejoin="round" />,
  gcp: <circle cx="8" cy="8" r="5.8" />,
  azure: <path d="M8 1.4 14.6 8 8 14.6 1.4 8Z" strokeLinejoin="round" />,
};

const FILLS: Record<Source, string> = {
  aws: "fill-aws stroke-aws-line",
  gcp: "fill-gcp stroke-gcp-line",
  azure: "fill-azure stroke-azure-line",
};

const BADGES: Record<Source, string> = {
  aws: "bg-aws-soft text-aws-text",
  gcp: "bg-gcp-soft text-gcp-text",
  azure: "bg-azure-soft text-azure-text",
};

export function CloudMark({ source, className }: { source: Source; className?: string }): ReactNode {
  return (
    <svg viewBox="0 0 16 16" aria-hidden strokeWidth="1.4" className={cx("size-3 shrink-0", FILLS[source], className)}>
      {SHAPES[source]}
    </svg>
  );
}

export function CloudBadge({ source, className }: { source: Source; className?: string }): ReactNode {
  return (
    <span
      className={cx(
        "inline-flex h-5.5 items-center gap-1.5 rounded-md px-1.5 text-xs font-semibold",
        BADGES[source],
        className,
      )}
    >
      <CloudMark source={source} className="size-2.5" />
      {CLOUD_NAMES[source]}
    </span>
  );
}
