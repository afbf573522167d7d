/** From the socket to the query cache: folds every message at once, and shows the sum every 50 ms at most. */
import type { QueryClient } from "@tanstack/react-query";

import type { Filter } from "@/lib/filter";
import { serverNow } from "@/lib/server-clock";

import { FlowsModel, type CountedFlows, type LiveFlows } from "./flows";
import { Follower } from "./follower";
import { CONNECTION, COUNTED, FEED, FLOWS, PULSE, type Connection } from "./keys";
import { LiveModel, type Counted } from "./model";
import { fetchCounts, fetchFrames, ticketed } from "./protocol";
import { LiveSocket, TIMING, type SocketState, type Timing } from "./socket";
import { KEPT_SECONDS } from "./throughput";

/** Queries under this key sum up what is stored, and are asked again when the stream can't tell the difference. */
export const AGGREGATES = ["aggregates"] as const;
/** Queries under this key list what was stored before, and are asked again when something was missed for good. */
export const HISTORY = ["history"] as const;

/** Between two pictures: twenty a second look alive, and cost half of what sixty do. */
const PAUSE_MS = 50;
/** The same when events come faster than one can read: five a second leave the browser its time. */
const CROWDED_PAUSE_MS = 200;
/** Between two questions for what the charts don't know. */
const RECALL_PAUSE_MS = 5000;

export class LiveClient {
  private readonly model = new LiveModel();
  private readonly flowsModel = new FlowsModel();
  private readonly socket: LiveSocket;
  private readonly follower: Follower;
  private ticking: ReturnType<typeof setInterval> | undefined;
  private painting: number | undefined;
  private paintedAt = 0;
  private connection: Connection = { phase: "connecting" };
  /** Frames came since the last tick. */
  private fresh = false;
  /** Frames came since the aggregates were last asked for. */
  private unsettled = false;
  private recalledAt = -Infinity;
  private stopping = new AbortController();

  constructor(
    private readonly queries: QueryClient,
    url: string,
    timing: Timing = TIMING,
  ) {
    this.follower = new Follower(fetchFrames, {
      onBegin: (complete) => {
        this.model.begin(complete);
        this.beat();
      },
      onFrames: (frames, live) => {
        this.fresh = this.unsettled = true;
        this.model.fold(frames, live);
        this.flowsModel.fold(frames);
        this.paint();
      },
      onGap: (missing) => {
        this.model.gap(missing, serverNow());
        if (missing === null) this.flowsModel.restart();
        this.askAgain();
        void this.queries.invalidateQueries({ queryKey: HISTORY });
        this.paint();
      },
      onCatchingUp: (catchingUp) => {
        if (this.connection.phase === "live") this.tell({ ...this.connection, catchingUp });
        if (!catchingUp) this.askAgain();
      },
    });
    this.socket = new LiveSocket(
      (signal) => ticketed(url, signal),
      {
        onState: (state) => {
          this.tell(connectionOf(state));
        },
        onMessage: (message) => {
          if (message.type === "frames") this.follower.receive(message.frames);
          else this.follower.hear(message.position);
        },
      },
      timing,
    );
  }

  start(): void {
    this.socket.open();
    this.ticking = setInterval(() => {
      this.tick();
    }, 1000);
    window.addEventListener("online", this.wake);
    document.addEventListener("visibilitychange", this.wake);
  }

  stop(): void {
    this.socket.close();
    this.follower.stop();
    this.stopping.abort();
    this.stopping = new AbortController();
    clearInterval(this.ticking);
    if (this.painting !== undefined) cancelAnimationFrame(this.painting);
    this.painting = undefined;
    window.removeEventListener("online", this.wake);
    document.removeEventListener("visibilitychange", this.wake);
  }

  readonly retryNow = (): void => {
    this.socket.open();
  };

  /** What frames had added when the stream was at a position; `now` if it has not come that far. */
  countedAt(position: number, now: Counted): Counted {
    return this.model.countsAt(position, now);
  }

  /** The same for flows. */
  flowsAt(position: number, now: LiveFlows): CountedFlows {
    return this.flowsModel.countsAt(position, now);
  }

  /** What frames have told of flows so far. */
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
   * Show what was folded with the next animation frame, or a little later when the last picture is fresh. A hidden page
   * gets no animation frames, and so does no work until it is shown; nothing is lost by that.
   */
  private paint(): void {
    if (this.painting !== undefined) return;
    this.painting = requestAnimationFrame((now) => {
      this.painting = undefined;
      const pause = this.model.crowded ? CROWDED_PAUSE_MS : PAUSE_MS;
      if (now - this.paintedAt < pause) {
        this.paint();
        return;
      }
      this.paintedAt = now;
      this.queries.setQueryData(FEED, this.model.feed());
      this.queries.setQueryData(COUNTED, this.model.counts());
      this.queries.setQueryData(FLOWS, this.flowsModel.read());
    });
  }

  private tick(): void {
    if (this.model.tick()) this.paint();
    this.beat();
    if (this.unsettled && !this.fresh) {
      this.askAgain();
      this.paint();
    }
    this.fresh = false;
  }

  /** Show the seconds that are over, and see to those that are not known. */
  private beat(): void {
    const pulse = this.model.pulse(serverNow());
    this.queries.setQueryData(PULSE, pulse);
    if (pulse.since > pulse.second - KEPT_SECONDS) this.recall();
  }

  /** Ask the ledger for what was not watched; while it can't be had, the charts show that, and a later tick asks again. */
  private recall(): void {
    const { signal } = this.stopping;
    const now = Date.now();
    if (this.connection.phase !== "live" || now - this.recalledAt < RECALL_PAUSE_MS) return;
    this.recalledAt = now;
    fetchCounts(serverNow() - (KEPT_SECONDS + 60) * 1000, signal).then(
      (counts) => {
        this.model.remember(counts);
        this.beat();
      },
      () => undefined,
    );
  }

  private askAgain(): void {
    this.unsettled = false;
    void this.queries.invalidateQueries({ queryKey: AGGREGATES });
  }

  private tell(connection: Connection): void {
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
