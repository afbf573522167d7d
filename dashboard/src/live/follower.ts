/** Delivers every position once and in order, from frames that arrive repeatedly, out of order, or not at all. */
import type { FetchFrames, Frame, FramePage } from "./protocol";

export interface FollowerHandlers {
  /** The follower has found its start. `complete`: the API keeps no earlier frames. */
  onBegin: (complete: boolean) => void;
  /** The next frames. `live`: they were just published; otherwise they are older frames that the follower fetched. */
  onFrames: (frames: readonly Frame[], live: boolean) => void;
  /** Frames were missed permanently; null: the stream restarted, and the number is unknown. */
  onGap: (missing: number | null) => void;
  onCatchingUp: (catchingUp: boolean) => void;
}

/** The most frames that the API returns at once. */
const PAGE = 500;
/** How many frames a newly opened page fetches, so that its charts do not start empty. */
const LOOK_BACK = PAGE;
/** The most frames that wait for an earlier one; the follower fetches the rest again. */
const MAX_WAITING = 2000;
const RETRY_MS = 1000;
const MAX_RETRY_MS = 15_000;
/** After this many responses without progress, the follower assumes that the stream restarted. */
const MAX_STALLS = 3;

export class Follower {
  /** The last position that was delivered; null: none yet. */
  private lastPosition: number | null = null;
  /** The latest position that the server or a frame has named. */
  private target = 0;
  private readonly waiting = new Map<number, Frame>();
  private suspectsReset = false;
  /** Aborts the running catch-up; null: none is running. */
  private running: AbortController | null = null;

  constructor(
    private readonly fetchFrames: FetchFrames,
    private readonly handlers: FollowerHandlers,
  ) {}

  /** Handles the server's latest position. */
  receivePosition(position: number): void {
    if (this.lastPosition !== null && position < this.lastPosition) this.suspectsReset = true;
    this.target = Math.max(this.target, position);
    this.advance();
  }

  /** Handles frames in any order. */
  receiveFrames(frames: readonly Frame[]): void {
    for (const frame of frames) {
      this.target = Math.max(this.target, frame.position);
      if (frame.position > (this.lastPosition ?? -1) && this.waiting.size < MAX_WAITING) {
        this.waiting.set(frame.position, frame);
      }
    }
    this.advance();
  }

  /** Stops all requests. The next frame or position resumes from the last delivered one. */
  stop(): void {
    this.running?.abort();
    this.running = null;
  }

  private advance(): void {
    if (this.running) return;
    this.emitReady();
    if (!this.isBehind()) return;
    const run = (this.running = new AbortController());
    this.handlers.onCatchingUp(true);
    void this.catchUp(run.signal).finally(() => {
      if (this.running !== run) return;
      this.running = null;
      this.handlers.onCatchingUp(false);
      // Frames that arrived in the meantime relied on the run that has just ended.
      this.advance();
    });
  }

  private isBehind(): boolean {
    return this.suspectsReset || this.lastPosition === null || this.lastPosition < this.target;
  }

  /** Delivers the frames that are next in line. */
  private emitReady(): void {
    if (this.lastPosition === null) return;
    const ready: Frame[] = [];
    let next: Frame | undefined;
    while ((next = this.waiting.get(this.lastPosition + 1))) {
      ready.push(next);
      this.waiting.delete(++this.lastPosition);
    }
    if (ready.length > 0) this.handlers.onFrames(ready, true);
  }

  private async catchUp(signal: AbortSignal): Promise<void> {
    let failures = 0;
    let stalls = 0;
    while (!signal.aborted && this.isBehind()) {
      const before = this.lastPosition;
      try {
        const page = await this.fetchFrames(before ?? 0, before === null ? 1 : PAGE, signal);
        signal.throwIfAborted();
        failures = 0;
        if (before === null || page.position < before) this.begin(page);
        else this.follow(page, before);
        this.emitReady();
      } catch {
        await pause(Math.min(MAX_RETRY_MS, RETRY_MS * 2 ** failures++), signal);
        continue;
      }
      if (this.lastPosition !== before) stalls = 0;
      else if (this.isBehind()) {
        if (++stalls >= MAX_STALLS) this.reset();
        await pause(RETRY_MS, signal);
      }
    }
  }

  /** Finds the start in a stream that the page has not followed before. */
  private begin(page: FramePage): void {
    if (this.lastPosition !== null) this.reset();
    this.target = Math.max(this.target, page.position);
    this.lastPosition = Math.max(firstAvailable(page) - 1, page.position - LOOK_BACK);
    this.handlers.onBegin(this.lastPosition === firstAvailable(page) - 1);
    for (const position of this.waiting.keys()) if (position <= this.lastPosition) this.waiting.delete(position);
  }

  /** Forgets all positions, because the stream restarted. */
  private reset(): void {
    this.lastPosition = null;
    this.target = 0;
    this.suspectsReset = false;
    this.waiting.clear();
    this.handlers.onGap(null);
  }

  private follow(page: FramePage, last: number): void {
    this.suspectsReset = false;
    const start = Math.max(firstAvailable(page) - 1, last);
    if (start > last) {
      this.handlers.onGap(start - last);
      this.lastPosition = start;
    }
    const next = page.frames.filter((frame) => frame.position > start);
    if (next[0]?.position !== start + 1) return;
    this.handlers.onFrames(next, false);
    this.lastPosition = start + next.length;
    for (const frame of next) this.waiting.delete(frame.position);
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
  });
}

/** The first position that the API still has; if it has none, the next one. */
function firstAvailable(page: FramePage): number {
  return page.oldest ?? page.position + 1;
}
