/** A fake of the API's flow versions. */
import type { Schemas } from "@/api/http";

type Version = Schemas["FlowVersion"];
type Answer = [status: number, body: unknown];

const AT = "2026-01-02T03:04:00Z";
const FLOW = /^\/api\/v1\/flow-versions(?:\/([^/]+))?(?:\/(\d+))?(?:\/(\w+))?$/;

export const SHIPPED = '[[flow]]\nname = "order"\ngrace_seconds = 60\n';

export class Rules {
  rules: Schemas["FlowRules"] = {
    flow: "order",
    owner: "shipped",
    text: SHIPPED,
    read_only: null,
    in_force: null,
    can_withdraw: false,
    latest: null,
    draft: null,
  };
  versions: Version[] = [];
  preview: Partial<Schemas["FlowPreview"]> = {};
  /** The answer to the next draft; null: it is saved. */
  refusal: Answer | null = null;

  /** The response, or null for a path of another topic. */
  answer(method: string, { pathname }: URL, body: string): Answer | null {
    const [path, flow, number, action] = FLOW.exec(pathname) ?? [];
    if (path === undefined) return null;
    if (method === "POST") return flow === undefined ? this.save(body) : this.act(Number(number), action);
    if (action === "toml" || number !== undefined) return [200, this.rules.text];
    return [200, flow === undefined ? [this.rules] : { items: [...this.versions].reverse(), next_cursor: null }];
  }

  /** Save a draft as another person does. */
  add(text: string, saved_by: string): Version {
    const draft: Version = {
      flow: this.rules.flow,
      version: this.versions.length + 1,
      state: "draft",
      text,
      saved_at: AT,
      saved_by,
      previewed_at: null,
      previewed_by: null,
      approved_at: null,
      approved_by: null,
      withdrawn_at: null,
      withdrawn_by: null,
      recompute: null,
    };
    this.versions = [...this.versions.map((each) => (each.state === "draft" ? { ...each, state: "replaced" as const } : each)), draft];
    this.rules = { ...this.rules, latest: draft.version, draft };
    return draft;
  }

  private save(body: string): Answer {
    const { text, based_on } = JSON.parse(body) as Schemas["NewFlowVersion"];
    if (this.refusal) return this.refusal;
    if (based_on !== this.rules.latest) return [409, { detail: `based_on: lee has saved version ${this.versions.length}` }];
    return [201, this.add(text, "me")];
  }

  private act(number: number, action: string | undefined): Answer {
    const version = this.versions.find((each) => each.version === number);
    if (!version) return [404, { detail: "unknown" }];
    if (action === "preview") {
      Object.assign(version, { previewed_at: AT, previewed_by: "me" });
      this.rules = { ...this.rules, draft: { ...version } };
      return [200, { ...EMPTY, ...this.preview }];
    }
    if (action === "withdraw") {
      Object.assign(version, { state: "withdrawn", withdrawn_at: AT, withdrawn_by: "me" });
      this.rules = { ...this.rules, text: null, in_force: null, can_withdraw: false };
      return [200, version];
    }
    const recompute = { events: 1200, instances: 7, started_at: AT, finished_at: null };
    Object.assign(version, { state: "in_force", approved_at: AT, approved_by: "me", recompute });
    this.rules = { ...this.rules, owner: "version", text: version.text, in_force: version, draft: null };
    return [200, version];
  }
}

const EMPTY: Schemas["FlowPreview"] = {
  flow: "order",
  method: "sample",
  since: "2025-12-03T03:04:00Z",
  until: AT,
  covered_since: "2025-12-03T03:04:00Z",
  problems: { instances: 20, compared: 20 },
  others: { instances: 1_000_000, compared: 10_000 },
  contradictory: 0,
  changes: [],
  examples: [],
  seconds: 4.1,
};
