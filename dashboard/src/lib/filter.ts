/** The filter of the event list, and the test whether an event matches it. */
import type { Source } from "./sources";

export interface Filter {
  source: Source | null;
  type: string | null;
  /** Part of an ID, type, subject, order or customer; case does not matter. */
  text: string;
}

export const NO_FILTER: Filter = { source: null, type: null, text: "" };

export const isFiltering = (filter: Filter): boolean =>
  filter.source !== null || filter.type !== null || filter.text !== "";

interface Searchable {
  source: string;
  type: string;
  id: string;
  subject: string | null;
  order_id: string | null;
  customer_id: string | null;
}

export function matchesKind(filter: Filter, source: string, type: string): boolean {
  return (filter.source === null || filter.source === source) && (filter.type === null || filter.type === type);
}

export function matches(filter: Filter, event: Searchable): boolean {
  if (!matchesKind(filter, event.source, event.type)) return false;
  if (filter.text === "") return true;
  const wanted = filter.text.toLowerCase();
  return [event.order_id, event.customer_id, event.id, event.type, event.subject].some((field) =>
    field?.toLowerCase().includes(wanted),
  );
}
