/** The one file that knows the socket: connects, notices silence, and comes back with growing, scattered pauses. */
import { PING, parseMessage, type Message } from "./protocol";

export type SocketState =
  | { phase: "connecting" }
  | { phase: "open" }
  /** Lost: the next try is after so many ms. */
  | { phase: "waiting"; delay: number };

export interface Timing {
  /** API Gateway closes a connection that was idle for 10 minutes. */
  pingMs: number;
  /** Longest wait for a connection, and for any message after a ping. */
  timeoutMs: number;
  minDelayMs: number;
  maxDelayMs: number;
}

export const TIMING: Timing = { pingMs: 30_000, timeoutMs: 10_000, minDelayMs: 500, maxDelayMs: 30_000 };

export interface SocketHandlers {
  onState: (state: SocketState) => void;
  onMessage: (message: Message) => void;
}

/**
 * How long to wait before try number `attempt` (from 0): twice as long each time, and scattered over the upper half,
 * so that a thousand viewers of a restarted server don't come back in the same instant.
 */
export function retryDelay(attempt: number, timing: Timing, random: () => number = Math.random): number {
  const limit = Math.min(timing.maxDelayMs, timing.minDelayMs * 2 ** attempt);
  return limit * (0.5 + random() / 2);
}

export class LiveSocket {
  private socket: WebSocket | null = null;
  /** While the address is asked for. */
  private resolving: AbortController | null = null;
  private attempt = 0;
  private lastMessageAt = 0;
  private readonly timers = new Set<ReturnType<typeof setTimeout>>();

  /** @param resolveUrl where to connect, asked for each time: a ticket in it is good for one connection. */
  constructor(
    private readonly resolveUrl: (signal: AbortSignal) => Promise<string>,
    private readonly handlers: SocketHandlers,
    private readonly timing: Timing = TIMING,
  ) {}

  /** Connect now, whatever was planned; does nothing while a connection is open or being made. */
  open(): void {
    if (this.socket || this.resolving) return;
    this.clearTimers();
    const resolving = (this.resolving = new AbortController());
    this.handlers.onState({ phase: "connecting" });
    this.schedule(this.timing.timeoutMs, () => {
      if (this.socket?.readyState !== WebSocket.OPEN) this.reconnect();
    });
    this.resolveUrl(resolving.signal).then(
      (url) => {
        if (resolving.signal.aborted) return;
        this.resolving = null;
        this.connect(url);
      },
      () => {
        if (!resolving.signal.aborted) this.reconnect();
      },
    );
  }

  private connect(url: string): void {
    const socket = new WebSocket(url);
    this.socket = socket;
    socket.onopen = () => {
      this.handlers.onState({ phase: "open" });
      this.ping();
    };
    socket.onmessage = (event: MessageEvent<unknown>) => {
      this.lastMessageAt = Date.now();
      const message = typeof event.data === "string" ? parseMessage(event.data) : null;
      if (!message) return;
      // Only a server that speaks our language counts as a success: a proxy may accept and close at once.
      this.attempt = 0;
      this.handlers.onMessage(message);
    };
    // An error is always followed by a close. The two-hour close of API Gateway is one like any other.
    socket.onclose = () => {
      this.reconnect();
    };
  }

  /** The machine may have slept: see whether the connection still lives, or make one. */
  wake(): void {
    if (this.socket?.readyState !== WebSocket.OPEN) {
      this.open();
      return;
    }
    this.clearTimers();
    this.ping();
  }

  /** End for good. */
  close(): void {
    this.clearTimers();
    this.discard();
  }

  private ping(): void {
    const sentAt = Date.now();
    this.socket?.send(PING);
    this.schedule(this.timing.timeoutMs, () => {
      if (this.lastMessageAt < sentAt) this.reconnect();
    });
    this.schedule(this.timing.pingMs, () => {
      this.ping();
    });
  }

  private reconnect(): void {
    this.clearTimers();
    this.discard();
    const delay = retryDelay(this.attempt++, this.timing);
    this.handlers.onState({ phase: "waiting", delay });
    this.schedule(delay, () => {
      this.open();
    });
  }

  /** Let go of the socket without hearing from it again: a half-dead one may take minutes to say that it closed. */
  private discard(): void {
    this.resolving?.abort();
    this.resolving = null;
    if (!this.socket) return;
    this.socket.onopen = this.socket.onmessage = this.socket.onclose = null;
    this.socket.close();
    this.socket = null;
  }

  private schedule(ms: number, action: () => void): void {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      action();
    }, ms);
    this.timers.add(timer);
  }

  private clearTimers(): void {
    for (const timer of this.timers) clearTimeout(timer);
    this.timers.clear();
  }
}
