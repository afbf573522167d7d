/** The words of the live stream: what the server sends, and what is asked of it. */
import { ApiError, apiUrl, get, post, type Schemas } from "@/api/http";

export type Frame = Schemas["StreamFrame"];
export type FramePage = Schemas["FramePage"];

/**
 * `hello` comes from the API's own socket only; API Gateway sends nothing until it is asked. `position` stands for a
 * frame that is too large for a message.
 */
export type Message = { type: PositionType; position: number } | { type: "frames"; frames: Frame[] };
type PositionType = (typeof POSITION_TYPES)[number];
const POSITION_TYPES = ["hello", "pong", "position"] as const;

export const PING = JSON.stringify({ type: "ping" });

/** The message, or null when it is none of ours: API Gateway may send notices of its own. */
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

/** The ledger by minute, from the minute of `since` on, in ms. */
export const fetchCounts = (since: number, signal: AbortSignal): Promise<Counts> =>
  get<Counts>(apiUrl("/api/v1/counts", { since: new Date(since).toISOString() }), signal);

export const fetchFrames: FetchFrames = (after, limit, signal) =>
  get<FramePage>(apiUrl("/api/v1/frames", { after, limit }), signal);

/**
 * The stream's address with a ticket for one connection. An API without Redis has no tickets (503), and none is needed
 * where it asks nobody who they are; elsewhere the connection is refused, and tried again.
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
