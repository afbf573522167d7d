/** What the API says about flows, and what is declared to be one. */
import { useQuery, type UseQueryResult } from "@tanstack/react-query";

import type { FlowStatus, IssueKind } from "@/lib/flows";

import { apiUrl, get, type Schemas } from "./http";

// Written by hand, for openapi.json does not tell of flows yet; then these become names for the generated types.

export interface FlowIssue {
  kind: IssueKind;
  /** The legs that it is about, and under their names the values that differ. */
  legs: string[];
  field: string | null;
  values: Record<string, string>;
  detail: string;
}

export interface FlowLeg {
  name: string;
  source: string;
  type: string;
  optional: boolean;
  state: "present" | "late" | "pending" | "missing";
  event_id: string | null;
  time: string | null;
  received_at: string | null;
  /** What the rules read. */
  fields: Record<string, string>;
  deliveries: number;
}

export interface FlowRow {
  flow: string;
  key: string;
  status: FlowStatus;
  amount: string | null;
  opened_at: string;
  deadline: string;
  settled_at: string | null;
  updated_at: string;
  time_to_match_seconds: number | null;
  legs: FlowLeg[];
  issues: FlowIssue[];
}

export interface Moment {
  at: string;
  what: "opened" | "leg" | "duplicate" | "contradictory" | "deadline" | "settled";
  leg: string | null;
  source: string | null;
  event_id: string | null;
  detail: string;
}

export interface FlowStory extends FlowRow {
  events: Schemas["Event"][];
  timeline: Moment[];
}

export interface FlowPage {
  items: FlowRow[];
  next_cursor: string | null;
}

export interface FlowSummary {
  since: string | null;
  until: string | null;
  total: number;
  by_status: Record<FlowStatus, number>;
  match_rate: number | null;
  oldest_open_seconds: number | null;
  amount_at_risk: string;
  /** Orders by how many clouds have spoken of them. */
  seen_on: Record<string, number>;
  issues: Record<string, number>;
  /** Clouds that are quiet although others speak. */
  silent: string[];
  trend: { minute: string; settled: number; matched: number }[];
}

export interface FlowDeclaration {
  name: string;
  legs: Pick<FlowLeg, "name" | "source" | "type" | "optional">[];
  window_seconds: number;
  grace_seconds: number;
  rules: string[];
}

export interface FlowChange {
  flow: string;
  key: string;
  status: FlowStatus;
  previous: FlowStatus | null;
  issues: IssueKind[];
  amount: string | null;
  opened_at: string;
}

/** What is declared changes with a restart of the API alone. */
export function useDeclarations(): UseQueryResult<FlowDeclaration[]> {
  return useQuery({
    queryKey: ["declarations"],
    queryFn: ({ signal }) => get<FlowDeclaration[]>(apiUrl("/api/v1/flows/declarations"), signal),
    staleTime: Infinity,
  });
}

interface Told {
  source: string;
  type: string;
  order_id: string | null;
}

/** The stories that an event is part of: of each flow that has a leg for it. */
export function storiesOf(event: Told, declared: readonly FlowDeclaration[]): { flow: string; key: string }[] {
  const key = event.order_id;
  if (key === null) return [];
  return declared
    .filter(({ legs }) => legs.some((leg) => leg.source === event.source && leg.type === event.type))
    .map(({ name }) => ({ flow: name, key }));
}
