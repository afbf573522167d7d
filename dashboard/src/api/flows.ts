/** What the API says about flows, and what is declared to be one. */
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

/** What is declared changes with a restart of the API alone. */
export function useDeclarations(): UseQueryResult<FlowDeclaration[]> {
  return useQuery({
    queryKey: ["declarations"],
    queryFn: ({ signal }) => get<FlowDeclaration[]>(apiUrl("/api/v1/flows/declarations"), signal),
    staleTime: Infinity,
  });
}

/** One story; whoever asks for it shares the answer. */
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
 * The stories that an event is part of: of each flow that has a leg for it, and whose key its payload names.
 *
 * @param payload as it was sent.
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

/** A scalar as the text that keys are compared by; null for anything else. */
function scalar(json: string | null): string | null {
  if (!json || json === "null" || json.startsWith("{") || json.startsWith("[")) return null;
  return json.startsWith('"') ? (JSON.parse(json) as string) : json.replace(/\.0+$/, "");
}
