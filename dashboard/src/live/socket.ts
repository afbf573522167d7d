/** The only file that uses the WebSocket: connects, detects silence, and reconnects with growing, random delays. */
import { PING, parseMessage, type Message } from "./protocol";

export type SocketState =
  | { phase: "connecting" }
  | { phase: "open" }
  /** The connection was lost; the next attempt follows after `delay` ms. */
  | { phase: "waiting"; delay: number };

export interface Timing {
  /** API Gateway closes a connection after 10 idle minutes. */
  pingMs: number;
  /** The longest wait for a connection, and for a message after a ping. */
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
 * The delay before attempt number `attempt`, from 0. It doubles each time, and its upper half is random, so that the
 * viewers of a restarted server do not all reconnect at the same moment.
 */
export function retryDelay(attempt: number, timing: Timing, random: () => number = Math.random): number {
  const limit = Math.min(timing.maxDelayMs, timing.minDelayMs * 2 ** attempt);
  return limit * (0.5 + random() / 2);
}

export class LiveSocket {
  private socket: WebSocket | null = null;
  /** Set while the URL is requested. */
  private resolving: AbortController | null = null;
  private attempt = 0;
  private lastMessageAt = 0;
  private readonly timers = new Set<ReturnType<typeof setTimeout>>();

  /** @param resolveUrl returns the URL of each new connection, since a ticket is valid for one. */
  constructor(
    private readonly resolveUrl: (signal: AbortSignal) => Promise<string>,
    private readonly handlers: SocketHandlers,
    private readonly timing: Timing = TIMING,
  ) {}

  /** Connects now, without waiting for the next attempt. Does nothing while a connection is open or being made. */
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
      // Only a valid message counts as success: a proxy may accept a connection and close it at once.
      this.attempt = 0;
      this.handlers.onMessage(message);
    };
    // A close event follows every error. The two-hour limit of API Gateway needs no special case.
    socket.onclose = () => {
      this.reconnect();
    };
  }

  /** The machine may have slept: checks the connection with a ping, or makes a new one. */
  wake(): void {
    if (this.socket?.readyState !== WebSocket.OPEN) {
      this.open();
      return;
    }
    this.clearTimers();
    this.ping();
  }

  /** Closes the connection without reconnecting. */
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

  /** Discards the socket without waiting for its close event, which may take minutes on a broken connection. */
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
