/** The server's time. Ages use it because the viewer's clock may be minutes off. */

let offsetMs = 0;

/** Sets the clock from a response that has the server's time, minus half of the round trip. */
export function observeServerTime(iso: string, requestedAt: number, respondedAt: number): void {
  const serverTime = Date.parse(iso);
  if (Number.isFinite(serverTime)) offsetMs = serverTime - (requestedAt + respondedAt) / 2;
}

export function serverNow(): number {
  return Date.now() + offsetMs;
}
