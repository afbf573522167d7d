/** The accumulated frames. The model is mutable so that adding is cheap; the page reads snapshots of it. */
import type { Schemas } from "@/api/http";
import { keyText } from "@/lib/event-key";
import { isSource, sources, type Source } from "@/lib/sources";
import { matches, matchesKind, NO_FILTER, type Filter } from "@/lib/filter";

import type { Counts, Frame } from "./protocol";
import { Sums, type Positioned } from "./sums";
import { Throughput, type Series } from "./throughput";

export type EventSummary = Schemas["EventSummary"];

export type Row =
  /** `replay`: the ID of the replay job that sent the event to the live stream; null: the event was just stored. */
  | { kind: "event"; key: string; event: EventSummary; receivedAt: number; replay: number | null }
  /** Frames that the page missed; null: the number is unknown. */
  | { kind: "gap"; key: string; missing: number | null; receivedAt: number };

export interface Feed {
  /** At most MAX_ROWS, newest first. */
  rows: readonly Row[];
  /** The filter that the rows match. */
  filter: Filter;
  /** The number of matching events since the page was opened. Only differences between two values are meaningful. */
  arrived: number;
  /** The number of further events that may match: the stream reported their number, but not their texts. */
  undecided: number;
  /** The rows leave out some events, because the list would be too fast to read. */
  sampled: boolean;
}

/** The exact counts that frames added since the page was opened. */
export interface StreamCounts extends Positioned {
  /** Of every source that has stored an event. */
  stored: Readonly<Record<Source, number>>;
  duplicate: number;
  contradictory: number;
  rejected: number;
}

export interface Pulse {
  /** The last finished second, in Unix time by the server's clock. */
  second: number;
  series: Series;
  /** The second from which the page has all data; -Infinity: it has the whole window. */
  since: number;
  /** Of every source that is declared or has sent an event. */
  sources: Readonly<Record<Source, SourcePulse>>;
  types: readonly string[];
}

export interface Lag {
  p50: number;
  p95: number;
  p99: number;
}

export interface SourcePulse {
  /** When Helios received the source's last event, in ms. */
  lastReceivedAt: number | null;
  /** The time between an event and its receipt, in ms, over the last LAG_SAMPLE events. */
  lag: Lag | null;
  /** The time of the source's latest event, in ms. */
  watermark: number | null;
  /** The source sends whole seconds, as EventBridge does, so that a lag below one second is not meaningful. */
  coarse: boolean;
}

/** What the model remembers of a source; `lags` has the last LAG_SAMPLE. */
interface Arrivals extends Omit<SourcePulse, "lag"> {
  lags: readonly number[];
}

const NO_ARRIVALS: Arrivals = { lags: [], lastReceivedAt: null, watermark: null, coarse: false };

export const MAX_ROWS = 100;
/** Rows in memory, so that a new filter shows matches at once. */
const BUFFERED_ROWS = 2000;
/** The most new rows per second that a viewer can read; the counts stay exact. */
const ROWS_PER_SECOND = 40;
const LAG_SAMPLE = 200;
const MAX_TYPES = 200;
/** The type of several types together, in a frame that has too many. */
const OTHER_TYPES = "*";

export const NO_COUNTS: StreamCounts = {
  position: null,
  stored: {},
  duplicate: 0,
  contradictory: 0,
  rejected: 0,
};

export class LiveModel {
  private recent: Row[] = [];
  private shown: Row[] = [];
  /** The rows of the last snapshot; null when they have changed. The same array means that no row moved. */
  private visibleRows: readonly Row[] | null = null;
  private filter = NO_FILTER;
  private arrived = 0;
  private undecided = 0;
  private rowsLeft = ROWS_PER_SECOND;
  private sampled = false;
  private gapCount = 0;
  private readonly sums = new Sums(NO_COUNTS);
  private readonly throughput = new Throughput();
  private readonly arrivals = new Map<Source, Arrivals>();
  private readonly types = new Set<string>();
  private since = Infinity;

  /** @param complete the API keeps no frames before those that follow. */
  begin(complete: boolean): void {
    this.since = complete ? -Infinity : Infinity;
  }

  /** @param live false: older frames, whose rows are all shown at once. */
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
    // A restarted stream repeats its events.
    if (missing === null) {
      this.recent = [];
      this.sums.restart();
    }
    this.since = Infinity;
    this.recent.push(row);
    this.refill();
  }

  /** Sets the counts by minute from before the page was opened. */
  setMinutes(counts: Counts): void {
    this.throughput.setMinutes(counts);
  }

  setFilter(filter: Filter): void {
    this.filter = filter;
    this.refill();
  }

  /**
   * Starts a new second with its own limit of rows. After a second without new rows, shows those that were left out.
   *
   * @returns whether the rows have changed.
   */
  tick(): boolean {
    const calm = this.sampled && this.rowsLeft === ROWS_PER_SECOND;
    if (calm) this.refill();
    this.rowsLeft = ROWS_PER_SECOND;
    return calm;
  }

  /** Whether this second had more rows than the list shows one by one. */
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

  /** The counts at a position; `now` if the stream has not reached it. */
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
      sources: this.pulses(),
      types: [...this.types].sort(),
    };
  }

  private pulses(): Record<Source, SourcePulse> {
    const names = new Set([...sources().map(({ name }) => name), ...this.arrivals.keys()]);
    const pulseOf = (source: Source): SourcePulse => {
      const { lags, ...rest } = this.arrivals.get(source) ?? NO_ARRIVALS;
      return { ...rest, lag: lagOf(lags) };
    };
    return Object.fromEntries([...names].map((source) => [source, pulseOf(source)]));
  }

  private addUp({ position, counts }: Frame): void {
    const stored: Record<Source, number> = { ...this.sums.latest.stored };
    let { duplicate, contradictory, rejected } = this.sums.latest;
    for (const count of counts) {
      if (isSource(count.source)) stored[count.source] = (stored[count.source] ?? 0) + count.stored;
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
   * Whether a count alone cannot show if its events match the filter: it has no texts, and a count of several types
   * does
   * not name them. Only the frame's sample of events can.
   */
  private isUndecided(source: string, type: string): boolean {
    const { text, type: wanted } = this.filter;
    if (type !== OTHER_TYPES) return text !== "" && matchesKind(this.filter, source, type);
    return (text !== "" || wanted !== null) && matchesKind({ ...this.filter, type: null }, source, type);
  }

  private addEvent(event: EventSummary, live: boolean): void {
    const row: Row = {
      kind: "event",
      key: keyText(event),
      event,
      receivedAt: Date.parse(event.received_at),
      replay: null,
    };
    const happenedAt = Date.parse(event.time);
    const { lags, lastReceivedAt, watermark } = this.arrivals.get(event.source) ?? NO_ARRIVALS;
    this.arrivals.set(event.source, {
      lags: [...lags, row.receivedAt - happenedAt].slice(-LAG_SAMPLE),
      lastReceivedAt: Math.max(lastReceivedAt ?? 0, row.receivedAt),
      watermark: Math.max(watermark ?? 0, happenedAt),
      coarse: happenedAt % 1000 === 0,
    });

    this.addRow(row, live);
  }

  /** A replayed event changes no count. It gets its own row, beside the row of the original event if there is one. */
  private addReplayed(event: EventSummary, replay: number, at: number, live: boolean): void {
    this.addRow({ kind: "event", key: `${keyText(event)} replay ${replay}`, event, receivedAt: at, replay }, live);
  }

  private addRow(row: Extract<Row, { kind: "event" }>, live: boolean): void {
    this.recent.push(row);
    if (!matches(this.filter, row.event)) return;
    if (!live) return; // refill() shows older rows together
    if (this.rowsLeft > 0) {
      this.rowsLeft--;
      this.visibleRows = null;
      if (this.shown.push(row) > 2 * MAX_ROWS) this.shown = this.shown.slice(-MAX_ROWS);
    } else this.sampled = true;
  }

  /** Shows the newest matching rows without leaving any out. */
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
