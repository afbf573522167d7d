import type { CSSProperties, ReactNode } from "react";

import { sourceInfo, sourceName, type Source, type SourceInfo } from "@/lib/sources";

import { cx } from "./class-names";

type Shape = SourceInfo["shape"];

/** A shape per source, so that colour is never the only distinction. */
const SHAPES: Record<Shape, ReactNode> = {
  triangle: <path d="M8 2.2 14.4 13.4H1.6Z" strokeLinejoin="round" />,
  circle: <circle cx="8" cy="8" r="5.8" />,
  diamond: <path d="M8 1.4 14.6 8 8 14.6 1.4 8Z" strokeLinejoin="round" />,
  square: <rect x="2.6" y="2.6" width="10.8" height="10.8" rx="1.2" />,
  hexagon: <path d="M4.7 2.3h6.6L14.6 8l-3.3 5.7H4.7L1.4 8Z" strokeLinejoin="round" />,
  star: (
    <path d="m8 1.3 2 4.4 4.8.5-3.6 3.2 1 4.7L8 11.7l-4.2 2.4 1-4.7L1.2 6.2 6 5.7Z" strokeLinejoin="round" />
  ),
  cross: <path d="M5.8 1.8h4.4v4h4v4.4h-4v4H5.8v-4h-4V5.8h4Z" strokeLinejoin="round" />,
  pentagon: <path d="m8 1.5 6.5 4.8-2.5 7.6H4L1.5 6.3Z" strokeLinejoin="round" />,
};

/** The colours of a source: grey for one that is not declared. */
export function colorsOf(source: Source): Record<"fill" | "line" | "text" | "soft", string> {
  const name = sourceInfo(source)?.colour ?? "slate";
  return {
    fill: `var(--color-${name})`,
    line: `var(--color-${name}-line)`,
    text: `var(--color-${name}-text)`,
    soft: `var(--color-${name}-soft)`,
  };
}

export function SourceMark({ source, className }: { source: Source; className?: string }): ReactNode {
  const { fill, line } = colorsOf(source);
  const style: CSSProperties = { fill, stroke: line };
  return (
    <svg viewBox="0 0 16 16" aria-hidden strokeWidth="1.4" style={style} className={cx("size-3 shrink-0", className)}>
      {SHAPES[sourceInfo(source)?.shape ?? "circle"]}
    </svg>
  );
}

/** The label of a source with its mark; a grey badge for one that is not declared. */
export function SourceBadge({ source, className }: { source: Source; className?: string }): ReactNode {
  const name = sourceName(source);
  const common = "inline-flex h-5.5 max-w-full min-w-0 items-center gap-1.5 rounded-md px-1.5 text-xs font-semibold";
  if (!sourceInfo(source)) return <span className={cx(common, "bg-raised text-soft", className)}>{name}</span>;
  const { text, soft } = colorsOf(source);
  return (
    <span title={name} style={{ color: text, backgroundColor: soft }} className={cx(common, className)}>
      <SourceMark source={source} className="size-2.5" />
      <span className="truncate">{name}</span>
    </span>
  );
}
