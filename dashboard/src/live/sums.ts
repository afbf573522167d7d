/** What the frames had added up to at any position, so that an answer of the API is added to and nothing counts twice. */

export interface Positioned {
  /** Of the last frame that is in it; null: there was none, or the stream began anew since. */
  position: number | null;
}

/** Sums that are kept: far more frames than come between two questions. */
const MAX_SUMS = 20_000;

export class Sums<T extends Positioned> {
  private history: T[];

  /** @param latest what there is before the first frame. */
  constructor(public latest: T) {
    this.history = [latest];
  }

  /** A frame came; its sum follows in the order of positions. */
  add(sum: T): void {
    this.latest = sum;
    this.history.push(sum);
    if (this.history.length > 2 * MAX_SUMS) this.history = this.history.slice(-MAX_SUMS);
  }

  /** The stream began anew: what was summed up stays, and the positions are others. */
  restart(): void {
    this.latest = { ...this.latest, position: null };
    this.history = [this.latest];
  }

  /** What it was when the stream was at a position; `now` if that has not come so far. */
  at(position: number, now: T): T {
    if (now.position === null || now.position <= position) return now;
    return this.history.findLast((sum) => (sum.position ?? 0) <= position) ?? this.history[0] ?? now;
  }
}
