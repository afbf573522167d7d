/** The server's time, updated once a second. All ages update together. */
import { useSyncExternalStore } from "react";

import { serverNow } from "./server-clock";

const listeners = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;
let now = serverNow();

function tick(): void {
  now = serverNow();
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  if (listeners.size === 0) {
    now = serverNow();
    timer = setInterval(tick, 1000);
  }
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) clearInterval(timer);
  };
}

/** A value computed from the time; the component renders only when that value changes. */
export function useNow(): number;
export function useNow<T extends string | number>(read: (now: number) => T): T;
export function useNow(read: (now: number) => string | number = (time) => time): string | number {
  return useSyncExternalStore(subscribe, () => read(now));
}
