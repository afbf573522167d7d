/** The server's time: the viewer's own clock may be minutes off, and ages must not be. */

let offsetMs = 0;

/** Learn from an answer that tells the server's time; half of the journey is taken off. */
export function observeServerTime(iso: string, askedAt: number, answeredAt: number): void {
  const told = Date.parse(iso);
  if (Number.isFinite(told)) offsetMs = told - (askedAt + answeredAt) / 2;
}

export function serverNow(): number {
  return Date.now() + offsetMs;
}
