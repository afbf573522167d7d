/** Turns counts per second into the points of a chart. */
import type { Source } from "@/lib/sources";
import type { Pulse } from "@/live/model";
import { WINDOW_SECONDS } from "@/live/throughput";

export const STEP_SECONDS = 10;

/** Events per second by source over the step that ends at `at`, in ms; null when data for part of the step is missing. */
export interface Point {
  at: number;
  rates: Readonly<Record<Source, number>> | null;
}

/** Points on round times, so that a step keeps its value while the window moves; an unfinished step is left out. */
export function points({ second, series, since }: Pulse): Point[] {
  const first = second - WINDOW_SECONDS + 1;
  const result: Point[] = [];
  for (let start = roundUp(first); start + STEP_SECONDS - 1 <= second; start += STEP_SECONDS) {
    const mean = (values: readonly number[]): number =>
      sum(values.slice(start - first, start - first + STEP_SECONDS)) / STEP_SECONDS;
    const rates = Object.fromEntries(Object.entries(series).map(([source, values]) => [source, mean(values)]));
    result.push({ at: (start + STEP_SECONDS) * 1000, rates: start < since ? null : rates });
  }
  return result;
}

/** The highest rate of all steps that have data. */
export function peak(all: readonly Point[]): number {
  return Math.max(0, ...all.map((point) => sum(Object.values(point.rates ?? {}))));
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

const roundUp = (second: number): number => Math.ceil(second / STEP_SECONDS) * STEP_SECONDS;
