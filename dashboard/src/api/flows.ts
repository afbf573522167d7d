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
  return declarations.flatMap(({ name, key: common, leg: legs }) => {
    const leg = legs.find(({ source, type }) => type === event.type && (source ?? event.source) === event.source);
    if (!leg) return [];
    const [key] = [leg.key ?? common].flat().flatMap((path) => scalar(valueAt(payload, path.split("."))) ?? []);
    return key ? [{ flow: name, key }] : [];
  });
}

/** The JSON at a path into a payload; null if there is none. */
const valueAt = (payload: string, path: readonly string[]): string | null =>
  path.reduce<string | null>((json, step) => json && memberInAnySpelling(json, step), object(payload));

/** A payload; of a payload that contains its object as text, the object. */
const object = (payload: string): string => (payload.startsWith('"') ? (JSON.parse(payload) as string) : payload);

/** The first value that is neither null nor empty, under the spellings of a name: `order_id`, `orderId`, `OrderId`. */
function memberInAnySpelling(json: string, name: string): string | null {
  return spellings(name).map((spelling) => member(json, spelling)).find((value) => value && value !== "null" && value !== '""') ?? null;
}

/** The spellings that the API looks for, in its order. */
function spellings(name: string): string[] {
  if (!/^[A-Za-z][A-Za-z0-9_]*$/.test(name)) return [name];
  const words = (name.match(/[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+/g) ?? []).map((word) => word.toLowerCase());
  const pascal = words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join("");
  return [name, words.join("_"), pascal.charAt(0).toLowerCase() + pascal.slice(1), pascal];
}

/** A scalar as the text that the API compares keys by; null for objects, arrays and null. */
function scalar(json: string | null): string | null {
  if (!json || json === "null" || json.startsWith("{") || json.startsWith("[")) return null;
  return json.startsWith('"') ? (JSON.parse(json) as string) : json.replace(/\.0+$/, "");
}
