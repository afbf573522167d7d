import type { Source } from "./sources";

/** The identity of an event: its ID is unique for its producer only. */
export interface EventKey {
  source: Source;
  producer: string;
  id: string;
}

/** The identity as one text, for lists and comparisons. */
export const keyText = ({ source, producer, id }: EventKey): string => JSON.stringify([source, producer, id]);
