/** Orders as the API returns them. */
import type { FlowChange,
  FlowDeclaration, FlowLeg, FlowInstance, FlowInstanceDetails, FlowSummary } from "@/api/flows";
import type { Source } from "@/lib/sources";

import { START } from "./frames";
import issues from "./issues.json";

const at = (ms: number): string => new Date(START + ms).toISOString();

export function leg(name: string, source: Source, change: Partial<FlowLeg> = {}): FlowLeg {
  return {
    name,
    source,
    type: `${name}-event`,
    optional: false,
    state: "present",
    parts: 1,
    expected: 1,
    event_id: `${name}-1`,
    producer: "shop",
    time: at(0),
    received_at: at(40),
    fields: { amount: "10.00" },
    deliveries: 1,
    ...change,
  };
}

export const gone = (name: string, source: Source, state: "pending" | "missing" = "missing"): FlowLeg =>
  leg(name, source, { state, parts: 0, event_id: null, producer: null, time: null, received_at: null, fields: {}, deliveries: 0 });

export function row(key: string, change: Partial<FlowInstance> = {}): FlowInstance {
  return {
    flow: "order",
    key,
    status: "matched",
    amount: "10.00",
    currency: "EUR",
    opened_at: at(0),
    deadline: at(90_000),
    settled_at: at(2000),
    updated_at: at(2000),
    time_to_match_seconds: 2,
    legs: [leg("order", "aws"), leg("payment", "gcp"), leg("inventory", "azure", { received_at: at(2000) })],
    issues: [],
    resolution: null,
    ...change,
  };
}

/** Azure reserved another quantity than AWS ordered, and sent the event twice; the API reports these issues for it. */
export const mismatched = (key: string): FlowInstance =>
  row(key, {
    status: "mismatched",
    time_to_match_seconds: null,
    legs: [
      leg("order", "aws", { fields: { quantity: "3" } }),
      leg("payment", "gcp"),
      leg("inventory", "azure", { fields: { quantity: "2" }, deliveries: 2 }),
    ],
    issues: issues as FlowInstance["issues"],
  });

export const open = (key: string): FlowInstance =>
  row(key, {
    status: "open",
    settled_at: null,
    time_to_match_seconds: null,
    legs: [leg("order", "aws"), leg("payment", "gcp"), gone("inventory", "azure", "pending")],
  });

export function details(of: FlowInstance): FlowInstanceDetails {
  const plain = { version: null, status: null };
  const legs = of.legs.flatMap(({ name, source, event_id, producer, received_at }) =>
    received_at === null
      ? []
      : [{ at: received_at, what: "leg" as const, leg: name, source, event_id, producer, ...plain, detail: `${source} sent ${name}` }],
  );
  const none = { leg: null, source: null, event_id: null, producer: null };
  const opened = { at: at(0), what: "opened" as const, ...none, ...plain, detail: "first event" };
  return { ...of, events: [], timeline: [opened, ...legs] };
}

type Leg = FlowDeclaration["leg"][0];

/** What the API fills in where a declaration is silent. */
const UNDECLARED = {
  key: null,
  many: false,
  id: null,
  at_least: null,
  at_most: null,
  count: null,
  max_evidence: 64,
  currency: null,
  when: [],
  unless: [],
};

export const declaration = (
  name: string,
  ...legs: (Pick<Leg, "name" | "source" | "type" | "optional"> & Partial<Leg>)[]
): FlowDeclaration => ({
  name,
  key: "order_id",
  window_seconds: 30,
  grace_seconds: 60,
  leg: legs.map((leg) => ({ ...UNDECLARED, ...leg, verb: null })),
  rule: [],
  rate: [],
  amount: [],
  currency: [],
  target_seconds: null,
  recovery: null,
});

export const change = (
  { flow, key, status, amount, opened_at, issues }: FlowInstance,
  previous: FlowInstance["status"] | null,
): FlowChange => ({ flow, key, status, previous, amount, opened_at, issues: issues.map(({ kind }) => kind) });

export function summary(of: Partial<FlowSummary> = {}): FlowSummary {
  return {
    position: 0,
    since: at(-86_400),
    until: at(0),
    total: 10,
    by_status: { open: 2, matched: 5, matched_late: 1, mismatched: 1, incomplete: 1 },
    match_rate: 0.75,
    oldest_open_seconds: 42,
    amount_at_risk: [{ currency: "EUR", amount: "1234.50" }],
    seen_on: { "1": 1, "2": 2, "3": 7 },
    issues: { mismatch: 1, missing: 1, duplicate: 3 },
    silent: [],
    trend: [
      { minute: at(0), settled: 4, matched: 4 },
      { minute: at(60_000), settled: 4, matched: 2 },
    ],
    ...of,
  };
}
