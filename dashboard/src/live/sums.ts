/**
 * The accumulated counts at every recent position. A response of the API is extended from its position, so that nothing
 * counts twice.
 */

export interface Positioned {
  /** The position of the last frame in the sum; null: there was none, or the stream restarted. */
  position: number | null;
}

/** The number of sums to keep: far more than the frames between two requests. */
const MAX_SUMS = 20_000;

export class Sums<T extends Positioned> {
  private history: T[];

  /** @param latest the sum before the first frame. */
  constructor(public latest: T) {
    this.history = [latest];
  }

  /** Adds the sum of the next position. */
  add(sum: T): void {
    this.latest = sum;
    this.history.push(sum);
    if (this.history.length > 2 * MAX_SUMS) this.history = this.history.slice(-MAX_SUMS);
  }

  /** The stream restarted: keeps the sum, and drops the old positions. */
  restart(): void {
    this.latest = { ...this.latest, position: null };
    this.history = [this.latest];
  }

  /** The sum at a position; `now` if the stream has not reached it. */
  at(position: number, now: T): T {
    if (now.position === null || now.position <= position) return now;
    return this.history.findLast((sum) => (sum.position ?? 0) <= position) ?? this.history[0] ?? now;
  }
}
