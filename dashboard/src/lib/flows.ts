/** The terms of reconciliation, in display order. */
import { sourceName } from "./sources";

export const STATUSES = ["mismatched", "incomplete", "matched_late", "open", "matched"] as const;
export type FlowStatus = (typeof STATUSES)[number];

export const STATUS_NAMES: Record<FlowStatus, string> = {
  mismatched: "Mismatched",
  incomplete: "Incomplete",
  matched_late: "Matched late",
  open: "Open",
  matched: "Matched",
};

export const ISSUE_KINDS = [
  "mismatch",
  "excess",
  "gap",
  "out_of_order",
  "contradictory",
  "missing",
  "late",
  "duplicate",
] as const;
export type IssueKind = (typeof ISSUE_KINDS)[number];

export const ISSUE_NAMES: Record<IssueKind, string> = {
  mismatch: "Mismatch",
  excess: "Too many",
  gap: "Gap",
  out_of_order: "Out of order",
  contradictory: "Contradictory",
  missing: "Missing",
  late: "Late",
  duplicate: "Duplicate",
};

/** The selections of the table: one status, all, or those that need attention. */
export const SHOWS = ["problems", ...STATUSES, "all"] as const;
export type Show = (typeof SHOWS)[number];

const PROBLEMS: readonly FlowStatus[] = ["mismatched", "incomplete", "matched_late"];

/** The statuses to request; an empty list requests all. */
export function statusesOf(show: Show): readonly FlowStatus[] {
  if (show === "all") return [];
  return show === "problems" ? PROBLEMS : [show];
}

/** The selectable periods in seconds, by the time at which a flow instance began. */
export const PERIODS = { "1h": 3600, "24h": 86_400, "7d": 604_800, "31d": 2_678_400 } as const;
export type Period = keyof typeof PERIODS;
export const PERIOD_NAMES: Record<Period, string> = { "1h": "1 hour", "24h": "24 hours", "7d": "7 days", "31d": "31 days" };

/** A period that the viewer entered; null leaves an end open. ISO 8601, UTC. */
export interface Range {
  from: string | null;
  to: string | null;
}

/** The bounds to request: the entered period, else the selected period up to now. */
export function boundsOf({ period, from, to }: Range & { period: Period | null }, now: number): Record<"since" | "until", string | null> {
  if (!from && !to) return { since: period && startOf(period, now), until: null };
  return { since: from ?? startOf("31d", to ? Date.parse(to) : now), until: to };
}

/** The start of a period, rounded down to a minute. */
export function startOf(period: Period, now: number): string {
  return new Date(Math.floor((now - PERIODS[period] * 1000) / 60_000) * 60_000).toISOString();
}

/** How many parts of a leg have arrived, such as `2 of 3`; empty for a leg that expects at most one. */
export function partsOf({ parts, expected }: { parts: number; expected: number }): string {
  if (expected > 1) return `${parts} of ${expected}`;
  return parts > 1 ? String(parts) : "";
}

/** An issue's sentence with the names of the clouds and a capital letter at the beginning. */
export function sentence(detail: string): string {
  const text = detail.replace(/\b(aws|gcp|azure)\b/g, (source) => sourceName(source));
  return text.charAt(0).toUpperCase() + text.slice(1);
}
