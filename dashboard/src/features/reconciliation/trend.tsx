import { useId, type ReactNode } from "react";

import type { FlowSummary } from "@/api/flows";
import { count, minuteOfDay, percent } from "@/lib/format";
import { Notice, Skeleton } from "@/ui/notice";
import { Panel } from "@/ui/panel";

type Bucket = FlowSummary["trend"][number];

/** Settled orders over time, and how many of them matched. */
export function Trend({ trend }: { trend: readonly Bucket[] | null }): ReactNode {
  const settled = trend?.filter((bucket) => bucket.settled > 0);
  return (
    <Panel title="Settled and matched orders" className="xl:col-span-2">
      {!trend || !settled ? (
        <Skeleton className="mx-5 mb-5 h-45 sm:h-40.5" />
      ) : settled.length === 0 ? (
        <Notice title="No settled orders yet">An order settles when its legs agree, or when its deadline passes.</Notice>
      ) : (
        <Chart trend={trend} lowest={settled.reduce((one, other) => (rateOf(other) < rateOf(one) ? other : one))} />
      )}
    </Panel>
  );
}

const rateOf = ({ settled, matched }: Bucket): number => matched / settled;

/** A plain SVG: Recharts would double the download of this view. */
function Chart({ trend, lowest }: { trend: readonly Bucket[]; lowest: Bucket }): ReactNode {
  const first = trend[0];
  const last = trend.at(-1);
  const lowestInWords = `lowest match rate ${percent(lowest.matched, lowest.settled)} at ${timeOf(lowest)}`;
  return (
    <figure className="px-4 pb-4 sm:px-5">
      <Bars trend={trend} label={`Settled orders from ${timeOf(first)} to ${timeOf(last)}; ${lowestInWords}`} />
      <figcaption className="mt-1.5 flex flex-wrap justify-between gap-x-4 text-xs text-faint tabular-nums">
        <span>{timeOf(first)}</span>
        <span className="flex flex-wrap justify-center gap-x-4 max-sm:order-last max-sm:basis-full">
          <span className="flex items-center gap-1.5">
            <span aria-hidden className="size-2.5 rounded-sm bg-good" /> matched
          </span>
          <span className="flex items-center gap-1.5">
            <span aria-hidden className="size-2.5 rounded-sm border-2 border-bad" /> not matched
          </span>
          <span>{lowestInWords}</span>
        </span>
        <span>{last !== first && timeOf(last)}</span>
      </figcaption>
    </figure>
  );
}

const timeOf = (bucket: Bucket | undefined): string => (bucket ? minuteOfDay(Date.parse(bucket.minute)) : "");

const WIDTH = 600;
const HEIGHT = 150;

function Bars({ trend, label }: { trend: readonly Bucket[]; label: string }): ReactNode {
  const pattern = useId();
  const top = Math.max(...trend.map(({ settled }) => settled));
  const step = WIDTH / Math.max(trend.length, 12);
  const scale = (orders: number): number => (orders / top) * HEIGHT;
  return (
    <svg role="img" aria-label={label} viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" className="h-36 w-full">
      <pattern id={pattern} width="3" height="3" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
        <rect width="3" height="3" fill="var(--color-bad-soft)" />
        <rect width="1.5" height="3" fill="var(--color-bad)" />
      </pattern>
      <line x1="0" x2={WIDTH} y1={HEIGHT - 0.5} y2={HEIGHT - 0.5} stroke="var(--color-line)" />
      {trend.map((bucket, index) => {
        const { minute, settled, matched } = bucket;
        const x = index * step;
        const width = step * 0.82;
        return (
          <g key={minute}>
            <title>{`${timeOf(bucket)}: ${count(matched)} of ${count(settled)} matched (${percent(matched, settled)})`}</title>
            <rect x={x} width={step} y="0" height={HEIGHT} fill="transparent" />
            <rect x={x} width={width} y={HEIGHT - scale(matched)} height={scale(matched)} fill="var(--color-good)" />
            <rect
              x={x}
              width={width}
              y={HEIGHT - scale(settled)}
              height={scale(settled - matched)}
              fill={`url(#${pattern})`}
            />
          </g>
        );
      })}
    </svg>
  );
}
