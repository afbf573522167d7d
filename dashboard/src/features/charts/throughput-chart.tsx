import { useMemo, type ReactNode } from "react";
import { Area, AreaChart, CartesianGrid, Tooltip, XAxis, YAxis } from "recharts";

import { sources } from "@/lib/sources";
import { minuteOfDay, rate, tick, timeOfDay } from "@/lib/format";
import type { Pulse } from "@/live/model";
import { colorsOf, SourceMark } from "@/ui/source-mark";

import { dashesOf } from "./styles";
import { peak, points, STEP_SECONDS, type Point } from "./throughput-data";

const MINUTES = [15, 12, 9, 6, 3, 0];

/** Events per second of each source, stacked, over the last 15 minutes. */
export default function ThroughputChart({ pulse }: { pulse: Pulse }): ReactNode {
  // A new chart every few seconds is enough: the sparklines show each second.
  const step = Math.floor((pulse.second + 1) / STEP_SECONDS);
  // eslint-disable-next-line react-hooks/exhaustive-deps -- redrawn by the step, with the pulse of that moment
  const data = useMemo(() => points(pulse), [step, pulse.since]);
  const end = step * STEP_SECONDS * 1000;
  const start = end - 15 * 60_000;
  const since = data.find((point) => point.rates !== null)?.at ?? end;

  return (
    <figure
      aria-label={`Events per second over the last 15 minutes, peak ${rate(peak(data))}`}
      className="relative h-56 px-2 pb-3 sm:px-3"
    >
      {since > start && <NoData share={(Math.min(since, end) - start) / (end - start)} />}
      <AreaChart
          data={data}
          responsive
          style={{ width: "100%", height: "100%" }}
          margin={MARGIN}
          accessibilityLayer={false}
        >
          <CartesianGrid vertical={false} stroke="var(--color-line)" />
          <XAxis
            height={AXIS.height}
            dataKey="at"
            type="number"
            domain={[start, end]}
            ticks={MINUTES.map((minutes) => end - minutes * 60_000)}
            tickFormatter={minuteOfDay}
            tick={{ fill: "var(--color-faint)", fontSize: 11 }}
            tickLine={false}
            axisLine={{ stroke: "var(--color-line)" }}
            interval="preserveEnd"
            minTickGap={24}
          />
          <YAxis
            width={AXIS.width}
            tickFormatter={tick}
            tick={{ fill: "var(--color-faint)", fontSize: 11 }}
            tickLine={false}
            axisLine={false}
            tickCount={4}
          />
          <Tooltip content={<Reading />} isAnimationActive={false} cursor={{ stroke: "var(--color-edge)" }} />
          {sources().map(({ name }) => (
            <Area
              key={name}
              dataKey={(point: Point) => point.rates && (point.rates[name] ?? 0)}
              stackId="all"
              type="monotone"
              stroke={colorsOf(name).line}
              strokeWidth={1.75}
              strokeDasharray={dashesOf(name)}
              fill={colorsOf(name).fill}
              fillOpacity={0.28}
              isAnimationActive={false}
            />
          ))}
        </AreaChart>
    </figure>
  );
}

const MARGIN = { top: 8, right: 12, bottom: 0, left: 0 };
const AXIS = { width: 40, height: 30 };

/** The period without data, drawn behind the chart from its left edge. */
function NoData({ share }: { share: number }): ReactNode {
  return (
    <div
      className="absolute inset-x-2 top-0 bottom-3 sm:inset-x-3"
      style={{ padding: `${MARGIN.top}px ${MARGIN.right}px ${AXIS.height}px ${AXIS.width}px` }}
    >
      <p
        className="flex h-full items-center justify-center overflow-hidden bg-raised/70 text-[11px] whitespace-nowrap text-faint"
        style={{ width: `${100 * share}%` }}
      >
        {share > 0.3 && "no data"}
      </p>
    </div>
  );
}

/** The values under the pointer. Recharts sets the properties. */
function Reading({ active, payload }: { active?: boolean; payload?: readonly { payload: Point }[] }): ReactNode {
  const point = payload?.[0]?.payload;
  if (!active || !point) return null;
  return (
    <div className="rounded-lg border border-line bg-panel px-3 py-2 text-xs shadow-lg">
      <p className="mb-1 text-faint tabular-nums">
        {timeOfDay(point.at - STEP_SECONDS * 1000)} – {timeOfDay(point.at)}
      </p>
      {sources().toReversed().map(({ name, label }) => (
        <p key={name} className="flex items-center gap-2 leading-5">
          <SourceMark source={name} className="size-2.5" />
          {label}
          <span className="ml-auto pl-4 font-medium tabular-nums">{rate(point.rates?.[name] ?? 0)}/s</span>
        </p>
      ))}
    </div>
  );
}
