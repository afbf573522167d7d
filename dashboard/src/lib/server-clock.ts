/** The server's time: the viewer's own clock may be minutes off, and ages must not be. */

let offsetMs = 0;

/** Learn from an answer that tells the server's time; half of the journey is taken off. */
export function observeServerTime(iso: string, requestedAt: number, respondedAt: number): void {
  const serverTime = Date.parse(iso);
  if (Number.isFinite(serverTime)) offsetMs = serverTime - (requestedAt + respondedAt) / 2;
}

export function serverNow(): number {
  return Date.now() + offsetMs;
}
