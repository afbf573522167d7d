/** Dead letters and replay jobs as the API keeps them. */
import type { Schemas } from "@/api/http";
import type { ReplayJob, ReplayRequest } from "@/api/replays";

type Letter = Schemas["DeadLetterView"];
type Answer = [status: number, body: unknown];

const AT = "2026-01-02T03:04:00Z";

export function letter(id: number, change: Partial<Letter> = {}): Letter {
  return {
    id,
    source: "gcp",
    way_in: "pubsub",
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
    replayed_keys: [],
    replays: [],
    ...change,
  };
}

export class Replays {
  letters: Letter[] = [];
  jobs: ReplayJob[] = [];
  /** What the replay of a letter answers. */
  outcome: Answer = [200, { status: "stored", source: "gcp", id: "m-1" }];
  /** All that was asked for. */
  readonly asked: ReplayRequest[] = [];
  readonly repairs: (string | null)[] = [];
  mayReplay = true;
  matching = 1200;

  /** Null: that is none of our business. */
  answer(method: string, { pathname, searchParams }: URL, given: string): Answer | null {
    const [, what, id, action] = /^\/api\/v1\/(dead-letters|replays)(?:\/(\w+))?(?:\/(\w+))?$/.exec(pathname) ?? [];
    if (method === "POST" && what && !this.mayReplay) return [403, { detail: "This request needs a token with the scope replay." }];
    if (what === "dead-letters") return this.ofLetters(method, id, searchParams, given);
    if (what === "replays") return this.ofJobs(method, id, action, given);
    return null;
  }

  private ofLetters(method: string, id: string | undefined, query: URLSearchParams, given: string): Answer {
    const found = this.letters.filter((one) =>
      (["source", "status", "field", "reason"] as const).every((name) => (query.get(name) ?? one[name]) === one[name]),
    );
    if (id === "groups") return [200, groups(found)];
    if (id === undefined) {
      const start = Number(query.get("after") ?? 0);
      const end = start + Number(query.get("limit"));
      return [200, { items: found.slice(start, end), next_cursor: end < found.length ? String(end) : null }];
    }
    const one = this.letters.find((each) => each.id === Number(id));
    if (!one) return [404, { detail: "No dead letter has this id" }];
    if (method === "GET") return [200, one];
    this.repairs.push((JSON.parse(given) as Schemas["Repair"]).body);
    return this.outcome;
  }

  private ofJobs(method: string, id: string | undefined, action: string | undefined, given: string): Answer {
    if (method === "POST" && id === undefined) return this.create(JSON.parse(given) as ReplayRequest);
    if (id === undefined) return [200, { items: this.jobs, next_cursor: null }];
    const job = this.jobs.find((each) => each.id === Number(id));
    if (!job) return [404, { detail: "No replay job has this id" }];
    if (action === "cancel") job.state = "cancelled";
    return [200, job];
  }

  private create(wanted: ReplayRequest): Answer {
    this.asked.push(wanted);
    if (wanted.dry_run) return [200, { matching: this.matching, oldest: AT, newest: AT, examples: ["7"] }];
    const { what, filter, target, per_second } = wanted;
    const job: ReplayJob = {
      id: this.jobs.length + 1, what, filter, target, per_second, who: "me", state: "running", created_at: AT,
      finished_at: null, matching: this.matching, checkpoint: null, sent: 300, failed: 0, skipped: 0, last_error: null,
    };
    this.jobs.unshift(job);
    return [201, job];
  }
}

function groups(letters: Letter[]): Schemas["DeadLetterGroup"][] {
  const reasons = [...new Set(letters.map(({ reason }) => reason))];
  return reasons.map((reason) => {
    const all = letters.filter((one) => one.reason === reason);
    const { source, status, field, id } = all[0] ?? letter(0);
    return { source, status, field, reason, count: all.length, first: AT, last: AT, example_id: id } as Schemas["DeadLetterGroup"];
  });
}
