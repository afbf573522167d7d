/** The messages of the live stream, and the requests that belong to it. */
import { ApiError, apiUrl, get, post, type Schemas } from "@/api/http";

export type Frame = Schemas["StreamFrame"];
export type FramePage = Schemas["FramePage"];

/**
 * Only the API's own socket sends `hello`; API Gateway sends nothing before the first ping. `position` replaces a
 * frame that is too large for a message.
 */
export type Message = { type: PositionType; position: number } | { type: "frames"; frames: Frame[] };
type PositionType = (typeof POSITION_TYPES)[number];
const POSITION_TYPES = ["hello", "pong", "position"] as const;

export const PING = JSON.stringify({ type: "ping" });

/** The message, or null for any other text: API Gateway may send notices of its own. */
export function parseMessage(text: string): Message | null {
  try {
    const message = JSON.parse(text) as Message | null;
    if (message?.type === "frames") return Array.isArray(message.frames) ? message : null;
    if (message && POSITION_TYPES.includes(message.type) && Number.isInteger(message.position)) return message;
  } catch {
    // not JSON
  }
  return null;
}

export type FetchFrames = (after: number, limit: number, signal: AbortSignal) => Promise<FramePage>;

export type Counts = Schemas["Counts"];

/** The counts by minute, from the minute of `since` on; `since` is in ms. */
export const fetchCounts = (since: number, signal: AbortSignal): Promise<Counts> =>
  get<Counts>(apiUrl("/api/v1/counts", { since: new Date(since).toISOString() }), signal);

export const fetchFrames: FetchFrames = (after, limit, signal) =>
  get<FramePage>(apiUrl("/api/v1/frames", { after, limit }), signal);

/**
 * The stream's URL with a ticket for one connection. Without Redis, the API has no tickets (503). An API without
 * authentication needs none; any other refuses the connection, and the socket retries.
 */
export async function withTicket(url: string, signal: AbortSignal): Promise<string> {
  try {
    const { ticket } = await post<Schemas["Ticket"]>(apiUrl("/api/v1/ws/tickets"), signal);
    return `${url}?ticket=${ticket}`;
  } catch (error) {
    if (error instanceof ApiError && error.status === 503) return url;
    throw error;
  }
}
