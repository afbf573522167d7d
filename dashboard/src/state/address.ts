/** What can be shared lives in the URL: the view, its filter, and the event or order that is looked at. */
import { useSyncExternalStore } from "react";

import { isSource, SOURCES, type Source } from "@/lib/clouds";
import type { Filter } from "@/lib/filter";
import { ISSUE_KINDS, PERIODS, SHOWS, type IssueKind, type Period, type Show } from "@/lib/flows";

export const VIEWS = ["events", "reconciliation", "dead-letters"] as const;
export type View = (typeof VIEWS)[number];

export interface EventKey {
  source: Source;
  id: string;
}

/** One order, in the flow that ships. */
export interface FlowKey {
  flow: string;
  key: string;
}

export interface FlowFilter {
  /** Null: every flow. */
  flow: string | null;
  period: Period;
  /** Instead of the period: when the orders began, from and until. ISO 8601. */
  from: string | null;
  to: string | null;
  show: Show;
  issue: IssueKind | null;
  /** A key, or how it begins. */
  key: string;
}

export const LETTER_SOURCES = [...SOURCES, "unknown"] as const;
export type LetterSource = (typeof LETTER_SOURCES)[number];
export const LETTER_STATUSES = ["rejected", "contradictory"] as const;
export type LetterStatus = (typeof LETTER_STATUSES)[number];

/** Which dead letters; null: any. The stretch of time is the one that reconciliation has. */
export interface LetterFilter {
  cloud: LetterSource | null;
  status: LetterStatus | null;
  field: string | null;
  reason: string | null;
  replayed: "yes" | "no" | null;
  period: Period;
  from: string | null;
  to: string | null;
}

/** Of which time events are listed; all null: as they come. */
export interface EventTime {
  period: Period | null;
  from: string | null;
  to: string | null;
}

interface Address {
  view: View;
  filter: Filter;
  time: EventTime;
  event: EventKey | null;
  flows: FlowFilter;
  story: FlowKey | null;
  letters: LetterFilter;
  /** The dead letter that is looked at. */
  letter: number | null;
}

type Parameter = "view" | "source" | "type" | "q" | "last" | "since" | "until" | "event" | "story" | "letter" | keyof FlowFilter | keyof LetterFilter;
/** What an address says anew; what it does not name stays. */
export type Change = Partial<Record<Parameter, string | null>>;

const listeners = new Set<() => void>();
let known = { search: "", address: parse("") };

function parse(search: string): Address {
  const query = new URLSearchParams(search);
  const source = query.get("source");
  const [cloud, id] = atSlash(query.get("event"));
  const [flow, key] = atSlash(query.get("story"));
  const time = {
    period: periodOf(query.get("period")) ?? ("24h" as const),
    from: instant(query.get("from")),
    to: instant(query.get("to")),
  };
  return {
    view: VIEWS.find((view) => view === query.get("view")) ?? "events",
    filter: { source: isSource(source) ? source : null, type: query.get("type"), text: query.get("q") ?? "" },
    time: { period: periodOf(query.get("last")), from: instant(query.get("since")), to: instant(query.get("until")) },
    event: isSource(cloud) && id ? { source: cloud, id } : null,
    flows: {
      flow: query.get("flow"),
      ...time,
      show: SHOWS.find((show) => show === query.get("show")) ?? "problems",
      issue: ISSUE_KINDS.find((kind) => kind === query.get("issue")) ?? null,
      key: query.get("key") ?? "",
    },
    story: flow && key ? { flow, key } : null,
    letters: {
      ...time,
      cloud: LETTER_SOURCES.find((each) => each === query.get("cloud")) ?? null,
      status: LETTER_STATUSES.find((each) => each === query.get("status")) ?? null,
      field: query.get("field"),
      reason: query.get("reason"),
      replayed: (["yes", "no"] as const).find((each) => each === query.get("replayed")) ?? null,
    },
    letter: Number(query.get("letter")) || null,
  };
}

function periodOf(text: string | null): Period | null {
  return text && Object.hasOwn(PERIODS, text) ? (text as Period) : null;
}

/** Null for what is no moment: an address may have been written by hand. */
function instant(text: string | null): string | null {
  return text && !Number.isNaN(Date.parse(text)) ? new Date(text).toISOString() : null;
}

/** Ids may have slashes of their own. */
function atSlash(text: string | null): [string, string] | [] {
  const at = text?.indexOf("/") ?? -1;
  return text && at > 0 ? [text.slice(0, at), text.slice(at + 1)] : [];
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

export const isShown = (view: View): boolean => read().view === view;

/** Typing must not fill the browser's history, so a filter replaces the one before. */
export function setFilter(change: Partial<Filter>): void {
  const filter = { ...read().filter, ...change };
  write({ source: filter.source, type: filter.type, q: filter.text }, "replaceState");
}

export function setEventTime(change: Partial<EventTime>): void {
  const { period, from, to } = { ...read().time, ...change };
  write({ last: period, since: from, until: to }, "replaceState");
}

export function setFlowFilter(change: Partial<FlowFilter>): void {
  write(change, "replaceState");
}

export function setLetterFilter(change: Partial<LetterFilter>): void {
  write(change, "replaceState");
}

/** Back closes what opening has opened. */
export function openEvent(key: EventKey | null): void {
  go(toEvent(key));
}

export const toView = (view: View): Change => ({
  view: view === "events" ? null : view,
  story: null,
  event: null,
  letter: null,
});

export const toStory = ({ flow, key }: FlowKey): Change => ({
  view: "reconciliation",
  story: `${flow}/${key}`,
  event: null,
});

export const toLetter = (id: number | null): Change => ({ letter: id === null ? null : String(id) });

export const toEvent = (key: EventKey | null): Change => ({ event: key && `${key.source}/${key.id}` });

/** The address that a change leads to. */
export function href(change: Change): string {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(change)) {
    if (value) query.set(name, value);
    else query.delete(name);
  }
  const search = query.toString();
  return `${location.pathname}${search && `?${search}`}`;
}

export function go(change: Change): void {
  write(change, "pushState");
}

function write(change: Change, how: "pushState" | "replaceState"): void {
  history[how](null, "", href(change));
  for (const listener of listeners) listener();
}
