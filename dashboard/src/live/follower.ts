/** Every position once and in order, from frames that come more than once, out of order, or not at all. */
import type { FetchFrames, Frame, FramePage } from "./protocol";

export interface FollowerHandlers {
  /** The stream is followed from here on. `complete`: nothing that is kept of it lies before. */
  onBegin: (complete: boolean) => void;
  /** The next frames. `live`: they are new; else they were published before this page knew of them. */
  onFrames: (frames: readonly Frame[], live: boolean) => void;
  /** Frames were missed for good; null: the stream began anew, and how many is not known. */
  onGap: (missing: number | null) => void;
  onCatchingUp: (catchingUp: boolean) => void;
}

/** Most frames the API gives at once. */
const PAGE = 500;
/** How far back a page that was just opened looks, so that its charts don't begin empty. */
const LOOK_BACK = PAGE;
/** Most frames that wait for a hole before them; those beyond are fetched again. */
const MAX_WAITING = 2000;
const RETRY_MS = 1000;
const MAX_RETRY_MS = 15_000;
/** After so many answers that don't lead on, the stream is another than the one we knew. */
const MAX_STALLS = 3;

export class Follower {
  /** The last position that was handed on; null: none yet. */
  private lastPosition: number | null = null;
  /** The latest position that anybody spoke of. */
  private target = 0;
  private readonly waiting = new Map<number, Frame>();
  private suspectsReset = false;
  /** The run that catches up, to be ended by this. */
  private running: AbortController | null = null;

  constructor(
    private readonly fetchFrames: FetchFrames,
    private readonly handlers: FollowerHandlers,
  ) {}

  /** The server told its latest position. */
  receivePosition(position: number): void {
    if (this.lastPosition !== null && position < this.lastPosition) this.suspectsReset = true;
    this.target = Math.max(this.target, position);
    this.advance();
  }

  /** Frames came, whichever. */
  receiveFrames(frames: readonly Frame[]): void {
    for (const frame of frames) {
      this.target = Math.max(this.target, frame.position);
      if (frame.position > (this.lastPosition ?? -1) && this.waiting.size < MAX_WAITING) {
        this.waiting.set(frame.position, frame);
      }
    }
    this.advance();
  }

  /** Ask for nothing more; what is told later begins anew from where we are. */
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
      // What came in the meantime was left to the run that has just ended.
      this.advance();
    });
  }

  private isBehind(): boolean {
    return this.suspectsReset || this.lastPosition === null || this.lastPosition < this.target;
  }

  /** Hand on what is next in line. */
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

  /** Find our place in a stream that we did not follow until now. */
  private begin(page: FramePage): void {
    if (this.lastPosition !== null) this.reset();
    this.target = Math.max(this.target, page.position);
    this.lastPosition = Math.max(firstAvailable(page) - 1, page.position - LOOK_BACK);
    this.handlers.onBegin(this.lastPosition === firstAvailable(page) - 1);
    for (const position of this.waiting.keys()) if (position <= this.lastPosition) this.waiting.delete(position);
  }

  /** The stream is not the one that we knew. */
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

/** The first position that can still be had; when there is none, the one that comes next. */
function firstAvailable(page: FramePage): number {
  return page.oldest ?? page.position + 1;
}
