/** A fake of the API's dead letters and replay jobs. */
import type { Schemas } from "@/api/http";
import type { ReplayJob, ReplayRequest } from "@/api/replay";

type DeadLetter = Schemas["DeadLetterView"];
type Answer = [status: number, body: unknown];

const AT = "2026-01-02T03:04:00Z";

export function deadLetter(id: number, change: Partial<DeadLetter> = {}): DeadLetter {
  return {
    id,
    source: "gcp",
    channel: "pubsub",
    status: "rejected",
    field: "message.messageId",
    reason: "is missing",
    attempts: 3,
    first_received_at: AT,
    last_received_at: AT,
    headers: { "content-type": "application/json" },
    body: '{"message":{"data":"e30="},"subscription":"s"}',
    body_bytes: 46,
    replayed_as: null,
    replayed_at: null,
    beyond_horizon: false,
    replayed_keys: [],
    replays: [],
    ...change,
  };
}

export class Replays {
  deadLetters: DeadLetter[] = [];
  jobs: ReplayJob[] = [];
  /** The response to the replay of a dead letter. */
  outcome: Answer = [200, { status: "stored", source: "gcp", id: "m-1" }];
  /** All requests for a replay job. */
  readonly requests: ReplayRequest[] = [];
  readonly repairs: (string | null)[] = [];
  mayReplay = true;
  matching = 1200;

  /** The response, or null for a path of another topic. */
  answer(method: string, { pathname, searchParams }: URL, body: string): Answer | null {
    const [, what, id, action] = /^\/api\/v1\/(dead-letters|replays)(?:\/(\w+))?(?:\/(\w+))?$/.exec(pathname) ?? [];
    if (method === "POST" && what && !this.mayReplay) return [403, { detail: "This request needs a token with the scope replay." }];
    if (what === "dead-letters") return this.ofDeadLetters(method, id, searchParams, body);
    if (what === "replays") return this.ofJobs(method, id, action, body);
    return null;
  }

  private ofDeadLetters(method: string, id: string | undefined, query: URLSearchParams, body: string): Answer {
    const matches = this.deadLetters.filter((deadLetter) =>
      (["source", "status", "field", "reason"] as const).every((name) => (query.get(name) ?? deadLetter[name]) === deadLetter[name]),
    );
    if (id === "groups") return [200, groups(matches)];
    if (id === undefined) {
      const start = Number(query.get("after") ?? 0);
      const end = start + Number(query.get("limit"));
      return [200, { items: matches.slice(start, end), next_cursor: end < matches.length ? String(end) : null }];
    }
    const deadLetter = this.deadLetters.find((each) => each.id === Number(id));
    if (!deadLetter) return [404, { detail: "No dead letter has this id" }];
    if (method === "GET") return [200, deadLetter];
    this.repairs.push((JSON.parse(body) as Schemas["Repair"]).body);
    return this.outcome;
  }

  private ofJobs(method: string, id: string | undefined, action: string | undefined, body: string): Answer {
    if (method === "POST" && id === undefined) return this.create(JSON.parse(body) as ReplayRequest);
    if (id === undefined) return [200, { items: this.jobs, next_cursor: null }];
    const job = this.jobs.find((each) => each.id === Number(id));
    if (!job) return [404, { detail: "No replay job has this id" }];
    if (action === "cancel") job.state = "cancelled";
    return [200, job];
  }

  private create(request: ReplayRequest): Answer {
    this.requests.push(request);
    if (request.dry_run) return [200, { matching: this.matching, oldest: AT, newest: AT, examples: ["7"] }];
    const { what, filter, target, per_second } = request;
    const job: ReplayJob = {
      id: this.jobs.length + 1, what, filter, target, per_second, actor: "me", state: "running", created_at: AT,
      finished_at: null, matching: this.matching, checkpoint: null, sent: 300, failed: 0, skipped: 0, last_error: null,
    };
    this.jobs.unshift(job);
    return [201, job];
  }
}

function groups(deadLetters: DeadLetter[]): Schemas["DeadLetterGroup"][] {
  const reasons = [...new Set(deadLetters.map(({ reason }) => reason))];
  return reasons.map((reason) => {
    const group = deadLetters.filter((each) => each.reason === reason);
    const { source, status, field, id } = group[0] ?? deadLetter(0);
    return { source, status, field, reason, count: group.length, first: AT, last: AT, example_id: id };
  });
}
