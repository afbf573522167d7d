/** A fake of the API's resolutions. */
import type { FlowInstance } from "@/api/flows";
import type { Schemas } from "@/api/http";

type Action = Schemas["ResolutionAction"];
type Request = Schemas["ResolutionRequest"];
type Answer = [status: number, body: unknown];

const AT = "2026-01-02T03:04:00Z";

export class Resolutions {
  /** All requests that change something. */
  readonly requests: Request[] = [];
  readonly actions: Action[] = [];
  mayResolve = true;

  /** The response, or null for a path of another topic. */
  answer(method: string, { pathname }: URL, body: string, flows: FlowInstance[]): Answer | null {
    const [path, undone] = /^\/api\/v1\/resolutions(?:\/(\d+)\/undo)?$/.exec(pathname) ?? [];
    if (path === undefined) return null;
    if (method === "GET") return [200, { items: [...this.actions].reverse(), next_cursor: null }];
    if (!this.mayResolve) return [403, { detail: "This request needs a token with the scope resolve." }];
    if (undone !== undefined) return this.undo(Number(undone), flows);
    return this.resolve(JSON.parse(body) as Request, flows);
  }

  private resolve(request: Request, flows: FlowInstance[]): Answer {
    const { step, text, assignee } = request;
    const instances = request.instances?.length ?? flows.length;
    const action = { at: AT, actor: "me", step, text, assignee, instances, skipped: 0, undoes: null, undone_by: null };
    if (request.dry_run) return [200, { id: null, ...action }];
    this.requests.push(request);
    this.actions.push({ id: this.actions.length + 1, ...action });
    for (const flow of flows) {
      flow.resolution = { state: "accepted", assignee, reason: text, version: 1, changed_at: AT, changed_by: "me" };
    }
    return [201, this.actions.at(-1)];
  }

  private undo(id: number, flows: FlowInstance[]): Answer {
    const action = this.actions.find((each) => each.id === id);
    if (!action) return [404, { detail: `No resolution has the id ${id}.` }];
    action.undone_by = this.actions.length + 1;
    for (const flow of flows) flow.resolution = null;
    this.actions.push({ ...action, id: action.undone_by, step: "undo", text: null, undoes: id, undone_by: null });
    return [201, this.actions.at(-1)];
  }
}
