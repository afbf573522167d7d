/** What the frames add up to. Mutable, and cheap to add to; the page gets snapshots of it. */
import type { Schemas } from "@/api/http";
import { isSource, perSource, type Source } from "@/lib/clouds";
import { matches, matchesKind, NO_FILTER, type Filter } from "@/lib/filter";

import type { Counts, Frame } from "./protocol";
import { Sums, type Positioned } from "./sums";
import { Throughput, type Series } from "./throughput";

export type EventSummary = Schemas["EventSummary"];

export type Row =
  /** `replay`: the job that sent it once more, and only to those who watch; null: it was stored just then. */
  | { kind: "event"; key: string; event: EventSummary; receivedAt: number; replay: number | null }
  /** Frames that this page will never see; null: how many is not known. */
  | { kind: "gap"; key: string; missing: number | null; receivedAt: number };

export interface Feed {
  /** At most MAX_ROWS, the newest first. */
  rows: readonly Row[];
  /** What the rows match. */
  filter: Filter;
  /** How many events that match came since the page was opened; only differences mean anything. */
  arrived: number;
  /** How many came beyond that of which only the number is known, so that they may match the text or not. */
  undecided: number;
  /** Some events were left out of the rows, because nobody could read them at that speed. */
  sampled: boolean;
}

/** What frames added since the page was opened, exactly. */
export interface StreamCounts extends Positioned {
  stored: Readonly<Record<Source, number>>;
  duplicate: number;
  contradictory: number;
  rejected: number;
}

export interface Pulse {
  /** The last whole second, in seconds since 1970 by the server's clock. */
  second: number;
  series: Series;
  /** From this second on the page knows all; -Infinity: of the whole quarter of an hour. */
  since: number;
  clouds: Readonly<Record<Source, CloudPulse>>;
  types: readonly string[];
}

export interface Lag {
  p50: number;
  p95: number;
  p99: number;
}

export interface CloudPulse {
  /** When its last event was received, in ms. */
  lastReceivedAt: number | null;
  /** From happening there to being received here, in ms, of its last LAG_SAMPLE events that were told. */
  lag: Lag | null;
  /** When the latest of its events happened, in ms: so far we are told of what it did. */
  watermark: number | null;
  /** It tells its times in whole seconds, as EventBridge does, so that a lag below one says nothing. */
  coarse: boolean;
}

export const MAX_ROWS = 100;
/** Rows kept so that a filter finds something at once. */
const BUFFERED_ROWS = 2000;
/** More new rows than these in a second are not legible; the counts stay exact. */
const ROWS_PER_SECOND = 40;
const LAG_SAMPLE = 200;
const MAX_TYPES = 200;
/** Stands for several, in a frame that has too many. */
const OTHER_TYPES = "*";

export const NO_COUNTS: StreamCounts = {
  position: null,
  stored: perSource(() => 0),
  duplicate: 0,
  contradictory: 0,
  rejected: 0,
};

export class LiveModel {
  private recent: Row[] = [];
  private shown: Row[] = [];
  /** The rows as they were last given away; null when they have changed. The same array tells that nothing moved. */
  private visibleRows: readonly Row[] | null = null;
  private filter = NO_FILTER;
  private arrived = 0;
  private undecided = 0;
  private rowsLeft = ROWS_PER_SECOND;
  private sampled = false;
  private gapCount = 0;
  private readonly sums = new Sums(NO_COUNTS);
  private readonly throughput = new Throughput();
  private readonly lags = perSource((): number[] => []);
  private readonly coarse = perSource(() => false);
  private readonly watermarks = perSource((): number | null => null);
  private readonly lastReceivedAt = perSource((): number | null => null);
  private readonly types = new Set<string>();
  private since = Infinity;

  /** @param complete nothing was published in the last hour but what will be folded. */
  begin(complete: boolean): void {
    this.since = complete ? -Infinity : Infinity;
  }

  /** @param live false: they were published before, and are shown all at once. */
  fold(frames: readonly Frame[], live: boolean): void {
    for (const frame of frames) {
      this.addUp(frame);
      const second = Math.floor(Date.parse(frame.published_at) / 1000);
      this.since = Math.min(this.since, second);
      for (const count of frame.counts) this.addCount(count, second);
      if (frame.replay !== null) {
        for (const event of frame.events) this.addReplayed(event, frame.replay, second * 1000, live);
        continue;
      }
      const named = new Set(frame.counts.map(({ source, type }) => `${source}/${type}`));
      for (const event of frame.events) {
        this.addEvent(event, live);
        if (!this.isUndecided(event.source, named.has(`${event.source}/${event.type}`) ? event.type : OTHER_TYPES)) continue;
        this.undecided--;
        if (matches(this.filter, event)) this.arrived++;
      }
    }
    if (this.recent.length > 2 * BUFFERED_ROWS) this.recent = this.recent.slice(-BUFFERED_ROWS);
    if (!live) this.refill();
  }

  /** @param now by the server's clock, in ms. */
  gap(missing: number | null, now: number): void {
    const row: Row = { kind: "gap", key: `gap ${++this.gapCount}`, missing, receivedAt: now };
    // A stream that began anew repeats its events.
    if (missing === null) {
      this.recent = [];
      this.sums.restart();
    }
    this.since = Infinity;
    this.recent.push(row);
    this.refill();
  }

  /** What was stored while nobody watched. */
  setMinutes(counts: Counts): void {
    this.throughput.setMinutes(counts);
  }

  setFilter(filter: Filter): void {
    this.filter = filter;
    this.refill();
  }

  /**
   * A second has passed: as many rows again may be shown, and when none came, what was left out.
   *
   * @returns whether the rows have changed by that.
   */
  tick(): boolean {
    const calm = this.sampled && this.rowsLeft === ROWS_PER_SECOND;
    if (calm) this.refill();
    this.rowsLeft = ROWS_PER_SECOND;
    return calm;
  }

  /** More rows came this second than are shown one by one. */
  get crowded(): boolean {
    return this.rowsLeft <= 0;
  }

  feed(): Feed {
    return {
      rows: (this.visibleRows ??= this.shown.slice(-MAX_ROWS).reverse()),
      filter: this.filter,
      arrived: this.arrived,
      undecided: this.undecided,
      sampled: this.sampled,
    };
  }

  counts(): StreamCounts {
    return this.sums.latest;
  }

  /** What was counted when the stream was at a position; `now` if it has not come that far. */
  countsAt(position: number, now: StreamCounts): StreamCounts {
    return this.sums.at(position, now);
  }

  /** @param now by the server's clock, in ms. */
  pulse(now: number): Pulse {
    const second = Math.floor(now / 1000) - 1;
    const watched = Math.min(this.since, second + 1);
    return {
      second,
      series: this.throughput.series(second, watched),
      since: this.throughput.knownSince(watched),
      clouds: perSource((source) => ({
        lastReceivedAt: this.lastReceivedAt[source],
        lag: lagOf(this.lags[source]),
        watermark: this.watermarks[source],
        coarse: this.coarse[source],
      })),
      types: [...this.types].sort(),
    };
  }

  private addUp({ position, counts }: Frame): void {
    const stored = { ...this.sums.latest.stored };
    let { duplicate, contradictory, rejected } = this.sums.latest;
    for (const count of counts) {
      if (isSource(count.source)) stored[count.source] += count.stored;
      duplicate += count.duplicate;
      contradictory += count.contradictory;
      rejected += count.rejected;
    }
    this.sums.add({ position, stored, duplicate, contradictory, rejected });
  }

  private addCount(count: Schemas["Count"], second: number): void {
    if (count.type && count.type !== OTHER_TYPES && this.types.size < MAX_TYPES) this.types.add(count.type);
    if (isSource(count.source)) this.throughput.add(second, count.source, count.stored);
    if (this.isUndecided(count.source, count.type)) this.undecided += count.stored;
    else if (matchesKind(this.filter, count.source, count.type)) this.arrived += count.stored;
  }

  /**
   * A count says nothing of texts, nor one of several types which they are: what it counts is told by its event alone,
   * if that is among a frame's sample.
   */
  private isUndecided(source: string, type: string): boolean {
    const { text, type: wanted } = this.filter;
    if (type !== OTHER_TYPES) return text !== "" && matchesKind(this.filter, source, type);
    return (text !== "" || wanted !== null) && matchesKind({ ...this.filter, type: null }, source, type);
  }

  private addEvent(event: EventSummary, live: boolean): void {
    const row: Row = {
      kind: "event",
      key: `${event.source}/${event.id}`,
      event,
      receivedAt: Date.parse(event.received_at),
      replay: null,
    };
    this.lastReceivedAt[event.source] = Math.max(this.lastReceivedAt[event.source] ?? 0, row.receivedAt);
    const happenedAt = Date.parse(event.time);
    this.watermarks[event.source] = Math.max(this.watermarks[event.source] ?? 0, happenedAt);
    this.coarse[event.source] = happenedAt % 1000 === 0;
    const lags = this.lags[event.source];
    if (lags.push(row.receivedAt - happenedAt) > LAG_SAMPLE) lags.shift();

    this.addRow(row, live);
  }

  /** Nothing happened: it counts for nothing, and is a row of its own beside the one that it may have already. */
  private addReplayed(event: EventSummary, replay: number, at: number, live: boolean): void {
    this.addRow({ kind: "event", key: `${event.source}/${event.id} replay ${replay}`, event, receivedAt: at, replay }, live);
  }

  private addRow(row: Extract<Row, { kind: "event" }>, live: boolean): void {
    this.recent.push(row);
    if (!matches(this.filter, row.event)) return;
    if (!live) return; // shown all at once when the last of them is here
    if (this.rowsLeft > 0) {
      this.rowsLeft--;
      this.visibleRows = null;
      if (this.shown.push(row) > 2 * MAX_ROWS) this.shown = this.shown.slice(-MAX_ROWS);
    } else this.sampled = true;
  }

  /** Show the newest rows that match, every one of them. */
  private refill(): void {
    const matching = this.recent.filter((row) => row.kind === "gap" || matches(this.filter, row.event));
    this.shown = matching.slice(-MAX_ROWS);
    this.visibleRows = null;
    this.sampled = false;
  }
}

function lagOf(values: readonly number[]): Lag | null {
  const sorted = [...values].sort((one, other) => one - other);
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return sorted.length === 0 ? null : { p50: at(0.5), p95: at(0.95), p99: at(0.99) };
}
