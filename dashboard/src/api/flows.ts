/** What the API says about flows, and what is declared to be one. */
import { useQuery, type UseQueryResult } from "@tanstack/react-query";

import { apiUrl, get, type Schemas } from "./http";

export type FlowIssue = Schemas["FlowIssue"];
export type FlowLeg = Schemas["FlowLeg"];
export type FlowRow = Schemas["FlowRow"];
export type Moment = Schemas["Step"];
export type FlowStory = Schemas["FlowStory"];
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

interface Told {
  source: string;
  type: string;
  order_id: string | null;
}

/** The stories that an event is part of: of each flow that has a leg for it. */
export function storiesOf(event: Told, declared: readonly FlowDeclaration[]): { flow: string; key: string }[] {
  const key = event.order_id;
  if (key === null) return [];
  return declared
    .filter(({ leg }) => leg.some(({ source, type }) => type === event.type && (source ?? event.source) === event.source))
    .map(({ name }) => ({ flow: name, key }));
}
