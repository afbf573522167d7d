/** The words of reconciliation, in the order in which they are always shown. */
import { CLOUD_NAMES, isSource } from "./clouds";

export const STATUSES = ["mismatched", "incomplete", "matched_late", "open", "matched"] as const;
export type FlowStatus = (typeof STATUSES)[number];

export const STATUS_NAMES: Record<FlowStatus, string> = {
  mismatched: "Mismatched",
  incomplete: "Incomplete",
  matched_late: "Matched late",
  open: "Open",
  matched: "Matched",
};

export const ISSUE_KINDS = ["mismatch", "contradictory", "missing", "late", "duplicate"] as const;
export type IssueKind = (typeof ISSUE_KINDS)[number];

export const ISSUE_NAMES: Record<IssueKind, string> = {
  mismatch: "Mismatch",
  contradictory: "Contradictory",
  missing: "Missing",
  late: "Late",
  duplicate: "Duplicate",
};

/** What the table shows: one status, all, or those that somebody should look at. */
export const SHOWS = ["problems", ...STATUSES, "all"] as const;
export type Show = (typeof SHOWS)[number];

const PROBLEMS: readonly FlowStatus[] = ["mismatched", "incomplete", "matched_late"];

/** The statuses to ask for; none: every one. */
export function statusesOf(show: Show): readonly FlowStatus[] {
  if (show === "all") return [];
  return show === "problems" ? PROBLEMS : [show];
}

/** How far back one looks, by when a story began. */
export const PERIODS = { "1h": 3600, "24h": 86_400, "7d": 604_800, "31d": 2_678_400 } as const;
export type Period = keyof typeof PERIODS;
export const PERIOD_NAMES: Record<Period, string> = { "1h": "1 hour", "24h": "24 hours", "7d": "7 days", "31d": "31 days" };

/** A stretch of time that somebody chose; an end that is null is open. ISO 8601, UTC. */
export interface Range {
  from: string | null;
  to: string | null;
}

/** What to ask for: the chosen stretch, else the period that ends now. */
export function boundsOf({ period, from, to }: Range & { period: Period | null }, now: number): Record<"since" | "until", string | null> {
  if (!from && !to) return { since: period && startOf(period, now), until: null };
  return { since: from ?? startOf("31d", to ? Date.parse(to) : now), until: to };
}

/** Where a period begins, on a whole minute. */
export function startOf(period: Period, now: number): string {
  return new Date(Math.floor((now - PERIODS[period] * 1000) / 60_000) * 60_000).toISOString();
}

/** A cloud as it is spelt, any other source as it came; null: whichever speaks first. */
export const sourceName = (source: string | null): string =>
  isSource(source) ? CLOUD_NAMES[source] : (source ?? "any cloud");

/** An issue's sentence, with the clouds spelt as they spell themselves and a capital at its beginning. */
export function sentence(detail: string): string {
  const text = detail.replace(/\b(aws|gcp|azure)\b/g, (source) => sourceName(source));
  return text.charAt(0).toUpperCase() + text.slice(1);
}
