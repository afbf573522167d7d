/** Stored events per second and cloud over the last quarter of an hour. */
import { perSource, SOURCES, type Source } from "@/lib/clouds";

export const KEPT_SECONDS = 900;

export type Series = Record<Source, readonly number[]>;

/** A ring: adding is cheap however many events come, and memory does not grow. */
export class Throughput {
  private readonly stamps = new Float64Array(KEPT_SECONDS);
  private readonly counts = perSource(() => new Uint32Array(KEPT_SECONDS));

  add(second: number, source: Source, stored: number): void {
    const slot = ((second % KEPT_SECONDS) + KEPT_SECONDS) % KEPT_SECONDS;
    const stamp = this.stamps[slot] ?? 0;
    if (second < stamp) return; // older than what is kept
    if (second > stamp) {
      this.stamps[slot] = second;
      for (const each of SOURCES) this.counts[each][slot] = 0;
    }
    this.counts[source][slot] = (this.counts[source][slot] ?? 0) + stored;
  }

  /** The seconds up to and with `end`, the oldest first. */
  series(end: number): Series {
    return perSource((source) =>
      Array.from({ length: KEPT_SECONDS }, (_, index) => {
        const second = end - KEPT_SECONDS + 1 + index;
        const slot = second % KEPT_SECONDS;
        return this.stamps[slot] === second ? (this.counts[source][slot] ?? 0) : 0;
      }),
    );
  }
}
