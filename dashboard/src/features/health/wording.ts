/** The health of each service in words, and its effect on the viewer. */
import type { Schemas } from "@/api/http";
import { age, duration, secondsUntil, timeOfDay } from "@/lib/format";
import { sources } from "@/lib/sources";
import type { Connection } from "@/live/keys";
import type { Lag, Pulse, SourcePulse } from "@/live/model";

export type Tone = "good" | "warn" | "bad" | "off";

export interface Line {
  name: string;
  tone: Tone;
  /** One or two words. */
  state: string;
  /** A sentence with the details, if there are any. */
  detail?: string;
}

type Health = Schemas["DetailedHealth"];
type Part = "database" | "redis" | "kafka" | "log" | "projector" | "archive";

const PARTS: Part[] = ["database", "redis", "kafka", "log", "projector", "archive"];
/** Shown only where they are in use: without one, its line would only raise the question what it is. */
const OPTIONAL: Part[] = ["log", "projector", "archive"];
const NAMES: Record<Part, string> = {
  database: "Database",
  redis: "Redis",
  kafka: "Kafka",
  log: "Log",
  projector: "Projector",
  archive: "Archive",
};
/** The effect when a service is unavailable. */
const MEANS: Record<Part, [Tone, string]> = {
  database: ["bad", "Helios cannot store events. Senders retry, so no event is lost."],
  redis: ["warn", "The database alone detects duplicates: slower, but as exact."],
  kafka: ["warn", "Events wait in the database until Kafka is available."],
  log: ["bad", "Helios cannot receive events. Senders retry, so no event is lost."],
  projector: ["bad", "Events wait in the log. This page shows none of them."],
  archive: ["warn", "No event is lost. The database grows until the archive works again."],
};
const NOT_USED: Record<Part, string> = {
  database: "No database is configured.",
  redis: "No Redis is configured. The database alone detects duplicates.",
  kafka: "No Kafka broker is configured.",
  log: "Postgres judges the events.",
  projector: "Postgres judges the events.",
  archive: "No archive is configured. The database has all events.",
};

/** @param failure why the API did not respond. */
export function partLines(health: Health | undefined, failure: Error | null): Line[] {
  if (failure) {
    return [{ name: "API", tone: "bad", state: "Unavailable", detail: failure.message }];
  }
  const isUsed = (part: Part) => health !== undefined && health[part] !== "disabled";
  const parts = PARTS.filter((part) => !OPTIONAL.includes(part) || isUsed(part));
  return parts.map((part) => partLine(part, health));
}

function partLine(part: Part, health: Health | undefined): Line {
  const name = NAMES[part];
  switch (health?.[part]) {
    case undefined:
      return { name, tone: "off", state: "Checking" };
    case "healthy":
      return { name, tone: "good", state: "Healthy" };
    case "disabled":
      return { name, tone: "off", state: "Not in use", detail: NOT_USED[part] };
    case "unhealthy": {
      const [tone, meaning] = MEANS[part];
      return { name, tone, state: "Unavailable", detail: `${meaning} Error: ${health.reasons[part] ?? "none reported"}` };
    }
  }
}

/** @param now the server's time. */
export function streamLine(connection: Connection, now: number): Line {
  const name = "Live stream";
  switch (connection.phase) {
    case "live":
      return connection.catchingUp
        ? { name, tone: "warn", state: "Catching up", detail: "The page is fetching the events that it missed." }
        : { name, tone: "good", state: "Connected" };
    case "connecting":
      return { name, tone: "off", state: "Connecting" };
    case "waiting":
      return {
        name,
        tone: "bad",
        state: "Disconnected",
        detail: `Next attempt in ${secondsUntil(connection.retryAt, now)} s. The page then fetches the events that it missed.`,
      };
  }
}

/** A source that is silent for this long needs attention: the source or its delivery may be down. */
const SILENT_MS = 60_000;

/** @param now the server's time. */
export function sourceLines(pulse: Pulse | null, now: number): Line[] {
  return sources().map(({ name: source, label: name }) => {
    const arrivals = pulse?.sources[source];
    const lastReceivedAt = arrivals?.lastReceivedAt ?? null;
    if (!arrivals || lastReceivedAt === null) {
      return { name, tone: "off", state: "No events", detail: "No event has arrived since this page was opened." };
    }
    const silence = now - lastReceivedAt;
    const behind = `${lagInWords(arrivals, "p50")} behind`;
    const detail = `${tailInWords(arrivals)}; events up to ${timeOfDay(arrivals.watermark ?? lastReceivedAt)}`;
    if (silence < SILENT_MS) return { name, tone: "good", state: behind, detail };
    return { name, tone: "warn", state: `Silent for ${age(silence)}`, detail: `Its last events were ${behind}; ${detail}.` };
  });
}

/** A source whose clock is ahead of the server's has no lag. */
function lagInWords({ lag, coarse }: SourcePulse, share: keyof Lag): string {
  const ms = Math.max(0, lag?.[share] ?? 0);
  return coarse && ms < 1000 ? "less than 1 s" : duration(ms);
}

const tailInWords = (arrivals: SourcePulse): string =>
  `p95 ${lagInWords(arrivals, "p95")}, p99 ${lagInWords(arrivals, "p99")}`;
