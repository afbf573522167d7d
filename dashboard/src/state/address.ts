/** The URL holds what can be shared: the view, its filters, and the open event, order or dead letter. */
import { useSyncExternalStore } from "react";

import type { EventKey } from "@/lib/event-key";
import { isSource, UNKNOWN, type Source } from "@/lib/sources";
import type { Filter } from "@/lib/filter";
import { ISSUE_KINDS, PERIODS, SHOWS, type IssueKind, type Period, type Show } from "@/lib/flows";
import { RESOLUTION_STATES, type ResolutionState } from "@/lib/resolutions";

export const VIEWS = ["events", "reconciliation", "dead-letters", "rules"] as const;
export type View = (typeof VIEWS)[number];

/** Identifies one flow instance. */
export interface FlowInstanceKey {
  flow: string;
  key: string;
}

export interface FlowFilter {
  /** Null: all flows. */
  flow: string | null;
  period: Period;
  /** Replaces the period: the bounds for the start of an order. ISO 8601. */
  from: string | null;
  to: string | null;
  show: Show;
  issue: IssueKind | null;
  /** What people decided. */
  resolution: ResolutionState | null;
  /** The person who works on it. */
  assignee: string | null;
  /** A key, or its beginning. */
  key: string;
}

export const DEAD_LETTER_STATUSES = ["rejected", "contradictory"] as const;
export type DeadLetterStatus = (typeof DEAD_LETTER_STATUSES)[number];

/** The filter of the dead letters; null: any. The period is shared with reconciliation. */
export interface DeadLetterFilter {
  /** A source, or `unknown`. */
  cloud: Source | null;
  status: DeadLetterStatus | null;
  field: string | null;
  reason: string | null;
  replayed: "yes" | "no" | null;
  period: Period;
  from: string | null;
  to: string | null;
}

/** The period of the listed events; all null: live. */
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
  instance: FlowInstanceKey | null;
  deadLetters: DeadLetterFilter;
  /** The open dead letter. */
  deadLetter: number | null;
  /** The flow whose rules are shown. */
  rules: string | null;
}

type Parameter = "view" | "source" | "type" | "q" | "last" | "since" | "until" | "event" | "producer" | "instance" | "dead-letter" | "rules" | keyof FlowFilter | keyof DeadLetterFilter;
/** The parameters that change; all others stay. */
export type Change = Partial<Record<Parameter, string | null>>;

const listeners = new Set<() => void>();
let cache = { search: "", address: parse("") };

function parse(search: string): Address {
  const query = new URLSearchParams(search);
  const source = query.get("source");
  const [eventSource, id] = splitAtSlash(query.get("event"));
  const [flow, key] = splitAtSlash(query.get("instance"));
  const time = {
    period: periodOf(query.get("period")) ?? ("24h" as const),
    from: instant(query.get("from")),
    to: instant(query.get("to")),
  };
  return {
    view: VIEWS.find((view) => view === query.get("view")) ?? "events",
    filter: { source: isSource(source) ? source : null, type: query.get("type"), text: query.get("q") ?? "" },
    time: { period: periodOf(query.get("last")), from: instant(query.get("since")), to: instant(query.get("until")) },
    event: isSource(eventSource) && id ? { source: eventSource, producer: query.get("producer") ?? "", id } : null,
    flows: {
      flow: query.get("flow"),
      ...time,
      show: SHOWS.find((show) => show === query.get("show")) ?? "problems",
      issue: ISSUE_KINDS.find((kind) => kind === query.get("issue")) ?? null,
      resolution: RESOLUTION_STATES.find((state) => state === query.get("resolution")) ?? null,
      assignee: query.get("assignee"),
      key: query.get("key") ?? "",
    },
    instance: flow && key ? { flow, key } : null,
    deadLetters: {
      ...time,
      cloud: isSource(query.get("cloud")) || query.get("cloud") === UNKNOWN ? query.get("cloud") : null,
      status: DEAD_LETTER_STATUSES.find((each) => each === query.get("status")) ?? null,
      field: query.get("field"),
      reason: query.get("reason"),
      replayed: (["yes", "no"] as const).find((each) => each === query.get("replayed")) ?? null,
    },
    deadLetter: Number(query.get("dead-letter")) || null,
    rules: query.get("rules"),
  };
}

function periodOf(text: string | null): Period | null {
  return text && Object.hasOwn(PERIODS, text) ? (text as Period) : null;
}

/** Null for an invalid time, since a viewer may edit the address. */
function instant(text: string | null): string | null {
  return text && !Number.isNaN(Date.parse(text)) ? new Date(text).toISOString() : null;
}

/** Splits at the first slash; an ID may contain more slashes. */
function splitAtSlash(text: string | null): [string, string] | [] {
  const at = text?.indexOf("/") ?? -1;
  return text && at > 0 ? [text.slice(0, at), text.slice(at + 1)] : [];
}

function read(): Address {
  if (cache.search !== location.search) cache = { search: location.search, address: parse(location.search) };
  return cache.address;
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

/** A filter replaces the history entry, so that typing does not fill the history. */
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

export function setDeadLetterFilter(change: Partial<DeadLetterFilter>): void {
  write(change, "replaceState");
}

/** Adds a history entry, so that Back closes the event. */
export function openEvent(key: EventKey | null): void {
  go(toEvent(key));
}

export const toEvent = (key: EventKey | null): Change => ({
  event: key && `${key.source}/${key.id}`,
  producer: key?.producer ?? null,
});

export const toView = (view: View): Change => ({
  ...toEvent(null),
  view: view === "events" ? null : view,
  instance: null,
  "dead-letter": null,
  rules: null,
});

export const toRules = (flow: string): Change => ({ ...toView("rules"), rules: flow });

export const toFlowInstance = ({ flow, key }: FlowInstanceKey): Change => ({
  ...toEvent(null),
  view: "reconciliation",
  rules: null,
  instance: `${flow}/${key}`,
});

export const toDeadLetter = (id: number | null): Change => ({ "dead-letter": id === null ? null : String(id) });

/** The URL after a change. */
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
