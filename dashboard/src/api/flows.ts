/** Types and requests for flows and their declarations. */
import { queryOptions, useQuery, type UseQueryResult } from "@tanstack/react-query";

import { member } from "@/lib/json-text";

import { apiUrl, get, type Schemas } from "./http";

export type FlowIssue = Schemas["FlowIssue"];
export type FlowLeg = Schemas["FlowLeg"];
export type FlowInstance = Schemas["FlowInstance"];
export type Moment = Schemas["Step"];
export type FlowInstanceDetails = Schemas["FlowInstanceDetails"];
export type FlowPage = Schemas["FlowPage"];
export type FlowSummary = Schemas["FlowSummary"];
export type FlowDeclaration = Schemas["Flow"];
export type FlowChange = Schemas["FlowChange"];

/** The declarations; they change only when the API restarts. */
export function useDeclarations(): UseQueryResult<FlowDeclaration[]> {
  return useQuery({
    queryKey: ["declarations"],
    queryFn: ({ signal }) => get<FlowDeclaration[]>(apiUrl("/api/v1/flows/declarations"), signal),
    staleTime: Infinity,
  });
}

/** The request for one flow instance. All components that use it share one response. */
// eslint-disable-next-line @typescript-eslint/explicit-module-boundary-types -- the library's own type, too long to read
export const flowInstanceQuery = (flow: string, key: string) =>
  queryOptions({
    queryKey: ["flow-instance", flow, key],
    queryFn: ({ signal }) =>
      get<FlowInstanceDetails>(apiUrl(`/api/v1/flows/${encodeURIComponent(flow)}/${encodeURIComponent(key)}`), signal),
  });

interface EventKind {
  source: string;
  type: string;
}

/**
 * The flow instances that an event belongs to: one for each flow that has a leg for the event and whose key the payload
 * contains.
 *
 * @param payload the payload's original text.
 */
export function flowInstancesOf(
  event: EventKind,
  payload: string,
  declarations: readonly FlowDeclaration[],
): { flow: string; key: string }[] {
  return declarations
    .filter(({ leg }) => leg.some(({ source, type }) => type === event.type && (source ?? event.source) === event.source))
    .flatMap(({ name, key: path }) => {
      const key = scalar(path.split(".").reduce<string | null>((json, step) => json && member(json, step), payload));
      return key ? [{ flow: name, key }] : [];
    });
}

/** A scalar as the text that the API compares keys by; null for objects, arrays and null. */
function scalar(json: string | null): string | null {
  if (!json || json === "null" || json.startsWith("{") || json.startsWith("[")) return null;
  return json.startsWith('"') ? (JSON.parse(json) as string) : json.replace(/\.0+$/, "");
}
