/** Connects the socket to the query cache: adds every message at once, and publishes the result every 50 ms at most. */
import type { QueryClient } from "@tanstack/react-query";

import type { Filter } from "@/lib/filter";
import { serverNow } from "@/lib/server-clock";

import { FlowsModel, type FlowStatusCounts, type LiveFlows } from "./flows";
import { Follower } from "./follower";
import { CONNECTION, STREAM_COUNTS, FEED, FLOWS, PULSE, type Connection } from "./keys";
import { LiveModel, type StreamCounts } from "./model";
import { fetchCounts, fetchFrames, withTicket } from "./protocol";
import { LiveSocket, TIMING, type SocketState, type Timing } from "./socket";
import { WINDOW_SECONDS } from "./throughput";

/** The key of queries that sum up stored data. They are refetched when the stream cannot provide the difference. */
export const AGGREGATES = ["aggregates"] as const;
/** The key of queries that list older events. They are refetched when frames were missed permanently. */
export const HISTORY = ["history"] as const;

/** The pause between two updates of the page: 20 a second look live, and cost half as much as 60. */
const PAINT_PAUSE_MS = 50;
/** The pause at high rates: 5 updates a second leave the browser time for input. */
const CROWDED_PAUSE_MS = 200;
/** The pause between two requests for the minutes that the charts lack. */
const MINUTES_PAUSE_MS = 5000;

export class LiveClient {
  private readonly model = new LiveModel();
  private readonly flowsModel = new FlowsModel();
  private readonly socket: LiveSocket;
  private readonly follower: Follower;
  private timer: ReturnType<typeof setInterval> | undefined;
  private animationFrame: number | undefined;
  private paintedAt = 0;
  private connection: Connection = { phase: "connecting" };
  /** Frames have arrived since the last tick. */
  private receivedFrames = false;
  /** Frames have arrived since the aggregates were last requested. */
  private aggregatesStale = false;
  private minutesFetchedAt = -Infinity;
  private fetches = new AbortController();

  constructor(
    private readonly queries: QueryClient,
    url: string,
    timing: Timing = TIMING,
  ) {
    this.follower = new Follower(fetchFrames, {
      onBegin: (complete) => {
        this.model.begin(complete);
        this.showPulse();
      },
      onFrames: (frames, live) => {
        this.receivedFrames = this.aggregatesStale = true;
        this.model.fold(frames, live);
        this.flowsModel.fold(frames);
        this.paint();
      },
      onGap: (missing) => {
        this.model.gap(missing, serverNow());
        if (missing === null) this.flowsModel.restart();
        this.refetchAggregates();
        void this.queries.invalidateQueries({ queryKey: HISTORY });
        this.paint();
      },
      onCatchingUp: (catchingUp) => {
        if (this.connection.phase === "live") this.setConnection({ ...this.connection, catchingUp });
        if (!catchingUp) this.refetchAggregates();
      },
    });
    this.socket = new LiveSocket(
      (signal) => withTicket(url, signal),
      {
        onState: (state) => {
          this.setConnection(connectionOf(state));
        },
        onMessage: (message) => {
          if (message.type === "frames") this.follower.receiveFrames(message.frames);
          else this.follower.receivePosition(message.position);
        },
      },
      timing,
    );
  }

  start(): void {
    this.socket.open();
    this.timer = setInterval(() => {
      this.tick();
    }, 1000);
    window.addEventListener("online", this.wake);
    document.addEventListener("visibilitychange", this.wake);
  }

  stop(): void {
    this.socket.close();
    this.follower.stop();
    this.fetches.abort();
    this.fetches = new AbortController();
    clearInterval(this.timer);
    if (this.animationFrame !== undefined) cancelAnimationFrame(this.animationFrame);
    this.animationFrame = undefined;
    window.removeEventListener("online", this.wake);
    document.removeEventListener("visibilitychange", this.wake);
  }

  readonly retryNow = (): void => {
    this.socket.open();
  };

  /** The stream's counts at a position; `now` if the stream has not reached it. */
  countsAt(position: number, now: StreamCounts): StreamCounts {
    return this.model.countsAt(position, now);
  }

  /** The stream's flow statuses at a position. */
  flowsAt(position: number, now: LiveFlows): FlowStatusCounts {
    return this.flowsModel.countsAt(position, now);
  }

  /** The flow changes that frames have reported so far. */
  flows(): LiveFlows {
    return this.flowsModel.read();
  }

  setFilter(filter: Filter): void {
    this.model.setFilter(filter);
    this.paint();
  }

  private readonly wake = (): void => {
    if (!document.hidden) this.socket.wake();
  };

  /**
   * Publishes the model with the next animation frame, or a little later if the last update is recent. A hidden page
   * gets
   * no animation frames, and so does no work until it is shown; the model keeps all data.
   */
  private paint(): void {
    if (this.animationFrame !== undefined) return;
    this.animationFrame = requestAnimationFrame((now) => {
      this.animationFrame = undefined;
      const pause = this.model.crowded ? CROWDED_PAUSE_MS : PAINT_PAUSE_MS;
      if (now - this.paintedAt < pause) {
        this.paint();
        return;
      }
      this.paintedAt = now;
      this.queries.setQueryData(FEED, this.model.feed());
      this.queries.setQueryData(STREAM_COUNTS, this.model.counts());
      this.queries.setQueryData(FLOWS, this.flowsModel.read());
    });
  }

  private tick(): void {
    if (this.model.tick()) this.paint();
    this.showPulse();
    if (this.aggregatesStale && !this.receivedFrames) {
      this.refetchAggregates();
      this.paint();
    }
    this.receivedFrames = false;
  }

  /** Publishes the finished seconds, and requests those that the page does not know. */
  private showPulse(): void {
    const pulse = this.model.pulse(serverNow());
    this.queries.setQueryData(PULSE, pulse);
    if (pulse.since > pulse.second - WINDOW_SECONDS) this.fetchMinutes();
  }

  /**
   * Requests the counts from before the page was opened. If that fails, the charts show the gap and a later tick
   * retries.
   */
  private fetchMinutes(): void {
    const { signal } = this.fetches;
    const now = Date.now();
    if (this.connection.phase !== "live" || now - this.minutesFetchedAt < MINUTES_PAUSE_MS) return;
    this.minutesFetchedAt = now;
    fetchCounts(serverNow() - (WINDOW_SECONDS + 60) * 1000, signal).then(
      (counts) => {
        this.model.setMinutes(counts);
        this.showPulse();
      },
      () => undefined,
    );
  }

  private refetchAggregates(): void {
    this.aggregatesStale = false;
    void this.queries.invalidateQueries({ queryKey: AGGREGATES });
  }

  private setConnection(connection: Connection): void {
    this.connection = connection;
    this.queries.setQueryData(CONNECTION, connection);
  }
}

function connectionOf(state: SocketState): Connection {
  switch (state.phase) {
    case "connecting":
      return state;
    case "open":
      return { phase: "live", catchingUp: false };
    case "waiting":
      return { phase: "waiting", retryAt: serverNow() + state.delay };
  }
}
