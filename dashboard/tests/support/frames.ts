/** Frames as the API returns them. */
import type { Source } from "@/lib/sources";
import type { EventSummary } from "@/live/model";
import type { FetchFrames, Frame } from "@/live/protocol";

export const START = Date.parse("2026-01-02T03:04:00Z");

export function event(id: string, change: Partial<EventSummary> = {}): EventSummary {
  return {
    source: "aws",
    producer: "shop",
    id,
    type: "OrderPlaced",
    subject: null,
    time: new Date(START).toISOString(),
    received_at: new Date(START + 20).toISOString(),
    order_id: `ORD-${id}`,
    customer_id: "CUST-0001",
    amount: "12.50",
    ...change,
  };
}

/** A frame that holds these events, and counts them. */
export function frame(position: number, events: EventSummary[] = [event(`e${position}`)], at = START): Frame {
  return {
    position,
    published_at: new Date(at).toISOString(),
    events,
    counts: events.map(({ source, type }) => count(source, type, 1)),
    flows: [],
    flow_statuses: {},
    replay: null,
  };
}

export function count(source: Source, type: string, stored: number): Frame["counts"][number] {
  return { minute: new Date(START).toISOString(), source, type, stored, duplicate: 0, contradictory: 0, rejected: 0 };
}

export function frames(from: number, to: number): Frame[] {
  return Array.from({ length: to - from + 1 }, (_, index) => frame(from + index));
}

/** The outbox behind GET /api/v1/frames. */
export class Outbox {
  stored: Frame[] = [];
  position = 0;

  publish(...more: Frame[]): void {
    this.stored.push(...more);
    this.position = Math.max(this.position, ...more.map((one) => one.position));
  }

  /** Does what the hourly sweep does. */
  deleteBefore(position: number): void {
    this.stored = this.stored.filter((one) => one.position >= position);
  }

  page(after: number, limit: number): Awaited<ReturnType<FetchFrames>> {
    return {
      frames: this.stored.filter((one) => one.position > after).slice(0, limit),
      position: this.position,
      oldest: this.stored[0]?.position ?? null,
    };
  }
}
