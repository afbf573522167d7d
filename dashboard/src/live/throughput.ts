/** Stored events per second and source over the last 15 minutes. */
import { isSource, sources, type Source } from "@/lib/sources";

import type { Counts } from "./protocol";

export const WINDOW_SECONDS = 900;
const MINUTE = 60;

/** Of every source that is declared or has sent an event. */
export type Series = Readonly<Record<Source, readonly number[]>>;

/** Counts by minute from the API, for the seconds before the page was opened. */
interface Minutes {
  since: number;
  until: number;
  /** Stored events by the first second of the minute. */
  counts: Map<number, Record<Source, number>>;
}

/** A ring buffer: adding is cheap at any rate, and memory does not grow. */
export class Throughput {
  private readonly stamps = new Float64Array(WINDOW_SECONDS);
  private readonly counts = new Map<Source, Uint32Array>();
  private minutes: Minutes | null = null;

  add(second: number, source: Source, stored: number): void {
    const slot = ((second % WINDOW_SECONDS) + WINDOW_SECONDS) % WINDOW_SECONDS;
    const stamp = this.stamps[slot] ?? 0;
    if (second < stamp) return; // older than the window
    if (second > stamp) {
      this.stamps[slot] = second;
      for (const counts of this.counts.values()) counts[slot] = 0;
    }
    let counts = this.counts.get(source);
    if (!counts) this.counts.set(source, (counts = new Uint32Array(WINDOW_SECONDS)));
    counts[slot] = (counts[slot] ?? 0) + stored;
  }

  /** Replaces the counts by minute. */
  setMinutes({ since, until, minutes }: Counts): void {
    const stored = new Map<number, Record<Source, number>>();
    for (const { minute, source, stored: events } of minutes) {
      if (!isSource(source)) continue;
      const start = secondOf(minute);
      const row = stored.get(start) ?? {};
      row[source] = events;
      stored.set(start, row);
    }
    this.minutes = { since: secondOf(since), until: secondOf(until), counts: stored };
  }

  /** @returns the second from which all data is known, when all frames since the second `watched` were added. */
  knownSince(watched: number): number {
    return this.minutes && watched <= this.minutes.until ? Math.min(watched, this.minutes.since) : watched;
  }

  /** The seconds up to and including `end`, oldest first; a second before `watched` has the mean of its minute. */
  series(end: number, watched: number): Series {
    const first = end - WINDOW_SECONDS + 1;
    const names = new Set([...sources().map(({ name }) => name), ...this.counts.keys()]);
    const valuesOf = (source: Source): number[] => {
      const values = Array.from({ length: WINDOW_SECONDS }, (_, index) => this.at(first + index, source));
      const unwatched = Math.min(watched, end + 1);
      for (let start = floorToMinute(first); start < unwatched; start += MINUTE) {
        const mean = this.meanBefore(unwatched, start, source);
        if (mean !== null) values.fill(mean, Math.max(0, start - first), Math.min(start + MINUTE, unwatched) - first);
      }
      return values;
    };
    return Object.fromEntries([...names].map((source) => [source, valuesOf(source)]));
  }

  private at(second: number, source: Source): number {
    const slot = second % WINDOW_SECONDS;
    return this.stamps[slot] === second ? (this.counts.get(source)?.[slot] ?? 0) : 0;
  }

  /** The minute's count minus its watched seconds, spread over the other seconds; null: not known. */
  private meanBefore(watched: number, start: number, source: Source): number | null {
    if (!this.minutes || start < this.minutes.since || watched > this.minutes.until) return null;
    let rest = this.minutes.counts.get(start)?.[source] ?? 0;
    const last = Math.min(start + MINUTE - 1, this.minutes.until);
    for (let second = watched; second <= last; second++) rest -= this.at(second, source);
    return Math.max(0, rest) / (Math.min(start + MINUTE, watched) - start);
  }
}

const secondOf = (iso: string): number => Math.floor(Date.parse(iso) / 1000);
const floorToMinute = (second: number): number => Math.floor(second / MINUTE) * MINUTE;
