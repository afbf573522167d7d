import { useId, type ReactNode } from "react";

import { sources, type Source } from "@/lib/sources";
import { colorsOf } from "@/ui/source-mark";

const RADIUS = 38;
const WIDTH = 17;
const GAP_DEGREES = 2.4;

/** What distinguishes a slice without colour, by the place of its source. */
const PATTERNS: readonly { size: number; turn?: number; mark: ReactNode }[] = [
  { size: 4, mark: null },
  { size: 4, mark: <circle cx="2" cy="2" r="0.6" fillOpacity="0.55" /> },
  { size: 3.4, turn: 45, mark: <rect width="0.9" height="3.4" fillOpacity="0.4" /> },
  { size: 3.4, turn: -45, mark: <path d="M0 0H3.4V0.6H0.6V3.4H0Z" fillOpacity="0.4" /> },
  { size: 3.4, turn: -45, mark: <rect width="0.9" height="3.4" fillOpacity="0.4" /> },
  { size: 2.6, mark: <rect width="2.6" height="0.8" fillOpacity="0.4" /> },
  { size: 2.6, mark: <rect width="0.8" height="2.6" fillOpacity="0.4" /> },
  { size: 4.4, mark: <circle cx="2.2" cy="2.2" r="1.2" fillOpacity="0.45" /> },
];

/** A donut chart whose slices differ without colour too. The table beside it has the numbers. */
export function Donut({ values }: { values: Readonly<Record<Source, number>> }): ReactNode {
  const id = useId();
  const names = sources().map(({ name }) => name);
  const slices = names.map((name) => values[name] ?? 0);
  const total = slices.reduce((sum, value) => sum + value, 0);
  return (
    <svg viewBox="0 0 100 100" aria-hidden className="size-full">
      <defs>
        {names.map((name, index) => (
          <Pattern key={name} id={`${id}${index}`} index={index} color={colorsOf(name).fill} />
        ))}
      </defs>
      {names.map((name, index) => {
        const value = slices[index] ?? 0;
        const start = (360 * slices.slice(0, index).reduce((sum, one) => sum + one, 0)) / total;
        // A slice smaller than the gap still shows as a line; an empty slice is not drawn.
        if (value === 0) return null;
        const end = start + (360 * value) / total;
        const path = value === total ? ring() : arc(start, Math.max(start + 0.8, end - GAP_DEGREES));
        return <path key={name} d={path} fill="none" stroke={`url(#${id}${index})`} strokeWidth={WIDTH} />;
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

function Pattern({ id, index, color }: { id: string; index: number; color: string }): ReactNode {
  const { size, turn = 0, mark } = PATTERNS[index % PATTERNS.length] ?? { size: 4, mark: null };
  return (
    <pattern id={id} width={size} height={size} patternUnits="userSpaceOnUse" patternTransform={`rotate(${turn})`} fill="#fff">
      <rect width={size} height={size} fill={color} />
      {mark}
    </pattern>
  );
}
