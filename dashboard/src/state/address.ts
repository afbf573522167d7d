/** What can be shared lives in the URL: the filter, and the event that is looked at. */
import { useSyncExternalStore } from "react";

import { isSource, type Source } from "@/lib/clouds";
import type { Filter } from "@/lib/filter";

export interface EventKey {
  source: Source;
  id: string;
}

interface Address {
  filter: Filter;
  event: EventKey | null;
}

const listeners = new Set<() => void>();
let known = { search: "", address: parse("") };

function parse(search: string): Address {
  const query = new URLSearchParams(search);
  const source = query.get("source");
  const [cloud, ...id] = (query.get("event") ?? "").split("/");
  return {
    filter: { source: isSource(source) ? source : null, type: query.get("type"), text: query.get("q") ?? "" },
    event: isSource(cloud) && id.length > 0 ? { source: cloud, id: id.join("/") } : null,
  };
}

function read(): Address {
  if (known.search !== location.search) known = { search: location.search, address: parse(location.search) };
  return known.address;
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  addEventListener("popstate", listener);
  return () => {
    listeners.delete(listener);
    removeEventListener("popstate", listener);
  };
}

export function useAddress(): Address {
  return useSyncExternalStore(subscribe, read);
}

/** Typing must not fill the browser's history, so a filter replaces the one before. */
export function setFilter(change: Partial<Filter>): void {
  const filter = { ...read().filter, ...change };
  write({ source: filter.source, type: filter.type, q: filter.text }, "replaceState");
}

/** Back closes what opening has opened. */
export function openEvent(key: EventKey | null): void {
  write({ event: key && `${key.source}/${key.id}` }, "pushState");
}

function write(change: Record<string, string | null>, how: "pushState" | "replaceState"): void {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(change)) {
    if (value) query.set(name, value);
    else query.delete(name);
  }
  const search = query.toString();
  history[how](null, "", `${location.pathname}${search && `?${search}`}`);
  for (const listener of listeners) listener();
}
