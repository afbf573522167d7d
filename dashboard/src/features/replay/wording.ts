/** Replay jobs in words. */
import { sourceName } from "@/lib/sources";
import type { ReplayJob, ReplayTarget } from "@/api/replay";
import { plural } from "@/lib/format";
import type { ReplayDraft } from "@/state/view";

const moment = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short", hourCycle: "h23" });
const when = (at: string): string => moment.format(Date.parse(at));

/** The filter of a job, in words. */
export function scopeOf({ filter }: Pick<ReplayDraft, "filter">): string {
  const { source, type, order_id, field, reason, since, until } = filter;
  const parts = [
    source && `from ${source === "unknown" ? "an unknown source" : sourceName(source)}`,
    type && `of type ${type}`,
    order_id && `of order ${order_id}`,
    field && `with the field ${field}`,
    reason && `with the reason "${reason}"`,
    since && `since ${when(since)}`,
    until && `until ${when(until)}`,
  ].filter(Boolean);
  return parts.length > 0 ? parts.join(", ") : "no filter";
}

export const NAMES: Record<ReplayJob["what"], [one: string, many: string]> = {
  events: ["event", "events"],
  dead_letters: ["dead letter", "dead letters"],
};

export const countOf = (what: ReplayJob["what"], value: number): string => plural(value, ...NAMES[what]);

export function targetName({ kind, url, cloud }: ReplayTarget): string {
  switch (kind) {
    case "ingest":
      return "Helios";
    case "relay":
      return "the live stream";
    case "webhook":
      return url ?? "a webhook";
    case "cloud":
      return sourceName(cloud);
  }
}

export const processed = ({ sent, failed, skipped }: ReplayJob): number => sent + failed + skipped;

/** The progress of a job, in words. */
export function progressOf({ matching, sent, failed, skipped }: ReplayJob): string {
  const others = [failed > 0 && plural(failed, "failed", "failed"), skipped > 0 && plural(skipped, "skipped", "skipped")];
  return [`${sent.toLocaleString("en")} of ${matching.toLocaleString("en")} sent`, ...others].filter(Boolean).join(", ");
}
