import { useId, type ReactNode } from "react";

import { SOURCES, type Source } from "@/lib/clouds";

const RADIUS = 38;
const WIDTH = 17;
const GAP_DEGREES = 2.4;

const FILL: Record<Source, string> = {
  aws: "var(--color-aws)",
  gcp: "var(--color-gcp)",
  azure: "var(--color-azure)",
};

/**
 * A donut chart whose slices differ without colour too: AWS plain, GCP dotted, Azure striped. The table beside it has
 * the numbers.
 */
export function Donut({ values }: { values: Readonly<Record<Source, number>> }): ReactNode {
  const id = useId();
  const total = SOURCES.reduce((sum, source) => sum + values[source], 0);
  const ends = SOURCES.map((_, index) =>
    SOURCES.slice(0, index + 1).reduce((sum, source) => sum + (360 * values[source]) / total, 0),
  );
  return (
    <svg viewBox="0 0 100 100" aria-hidden className="size-full">
      <Patterns id={id} />
      {SOURCES.map((source, index) => {
        const start = ends[index - 1] ?? 0;
        const end = ends[index] ?? 0;
        // A slice smaller than the gap still shows as a line; an empty slice is not drawn.
        if (values[source] === 0) return null;
        const path = values[source] === total ? ring() : arc(start, Math.max(start + 0.8, end - GAP_DEGREES));
        return <path key={source} d={path} fill="none" stroke={`url(#${id}${source})`} strokeWidth={WIDTH} />;
      })}
    </svg>
  );
}

const point = (degrees: number): string => {
  const angle = ((degrees - 90) * Math.PI) / 180;
  return `${(50 + RADIUS * Math.cos(angle)).toFixed(3)} ${(50 + RADIUS * Math.sin(angle)).toFixed(3)}`;
};

const arc = (start: number, end: number): string =>
  `M${point(start)}A${RADIUS} ${RADIUS} 0 ${end - start > 180 ? 1 : 0} 1 ${point(end)}`;

const ring = (): string => `${arc(0, 180)}${arc(180, 360).replace("M", "L")}`;

function Patterns({ id }: { id: string }): ReactNode {
  return (
    <defs>
      <pattern id={`${id}aws`} width="4" height="4" patternUnits="userSpaceOnUse">
        <rect width="4" height="4" fill={FILL.aws} />
      </pattern>
      <pattern id={`${id}gcp`} width="4" height="4" patternUnits="userSpaceOnUse">
        <rect width="4" height="4" fill={FILL.gcp} />
        <circle cx="2" cy="2" r="0.6" fill="#fff" fillOpacity="0.55" />
      </pattern>
      <pattern id={`${id}azure`} width="3.4" height="3.4" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
        <rect width="3.4" height="3.4" fill={FILL.azure} />
        <rect width="0.9" height="3.4" fill="#fff" fillOpacity="0.4" />
      </pattern>
    </defs>
  );
}
