/** A fake of the API's recoveries. */
import type { Schemas } from "@/api/http";

import type { FlowInstance } from "@/api/flows";

type Recovery = Schemas["Recovery"];
type Answer = [status: number, body: unknown];

const AT = "2026-01-02T03:04:00Z";
const PLACE = "the dead-letter blobs";

export class Recoveries {
  /** All requests that start a recovery. */
  readonly requests: Schemas["RecoveryRequest"][] = [];
  recoveries: Recovery[] = [];
  mayReplay = true;
  /** Where a recovery would look. */
  places = [PLACE];

  /** The response, or null for a path of another topic. */
  answer(method: string, { pathname }: URL, body: string, flows: FlowInstance[]): Answer | null {
    if (pathname === "/api/v1/diagnoses") return [200, flows.flatMap(({ legs }) => legs.flatMap((leg) => diagnosis(leg, this.places)))];
    if (pathname !== "/api/v1/recoveries") return null;
    if (method === "GET") return [200, { items: [...this.recoveries].reverse(), next_cursor: null }];
    if (!this.mayReplay) return [403, { detail: "This request needs a token with the scope replay." }];
    const request = JSON.parse(body) as Schemas["RecoveryRequest"];
    this.requests.push(request);
    this.recoveries.push({
      id: this.recoveries.length + 1,
      ...request,
      actor: "me",
      is_automatic: false,
      requested_at: AT,
      state: "running",
      finding: null,
      found_in: null,
      detail: "",
      searches: [],
      ended_at: null,
    });
    return [201, this.recoveries.at(-1)];
  }

  /** Ends the running recoveries: the events were in a place. */
  finish(): void {
    this.recoveries = this.recoveries.map((each) => ({
      ...each,
      state: "recovered",
      finding: "not_delivered",
      found_in: PLACE,
      detail: `It was brought back from ${PLACE}.`,
      ended_at: AT,
    }));
  }
}

function diagnosis({ name, type, source, state }: FlowInstance["legs"][0], places: string[]): Schemas["Diagnosis"][] {
  if (state !== "missing") return [];
  const detail = "Start a recovery to search the places of its cloud.";
  return [
    { leg: name, type, source, finding: "unknown", found_in: null, detail, dead_letters: [], places, as_of: null },
  ];
}
