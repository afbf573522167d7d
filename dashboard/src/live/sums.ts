/** What the frames had added up to at any position, so that an answer of the API is added to and nothing counts twice. */

export interface Positioned {
  /** Of the last frame that is in it; null: there was none, or the stream began anew since. */
  position: number | null;
}

/** Sums that are kept: far more frames than come between two questions. */
const KEPT = 20_000;

export class Sums<T extends Positioned> {
  private kept: T[];

  /** @param latest what there is before the first frame. */
  constructor(public latest: T) {
    this.kept = [latest];
  }

  /** A frame came; its sum follows in the order of positions. */
  add(sum: T): void {
    this.latest = sum;
    this.kept.push(sum);
    if (this.kept.length > 2 * KEPT) this.kept = this.kept.slice(-KEPT);
  }

  /** The stream began anew: what was summed up stays, and the positions are others. */
  restart(): void {
    this.latest = { ...this.latest, position: null };
    this.kept = [this.latest];
  }

  /** What it was when the stream was at a position; `now` if that has not come so far. */
  at(position: number, now: T): T {
    if (now.position === null || now.position <= position) return now;
    return this.kept.findLast((sum) => (sum.position ?? 0) <= position) ?? this.kept[0] ?? now;
  }
}
