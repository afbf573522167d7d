/** The sources of events: the three clouds, and those that the API declares. */
export type Source = string;

/** How a source is shown. */
export interface SourceInfo {
  name: Source;
  label: string;
  /** A colour of the palette in index.css. */
  colour: string;
  shape: "triangle" | "circle" | "diamond" | "square" | "hexagon" | "star" | "cross" | "pentagon";
  built_in: boolean;
}

/** The sources until the API has answered. */
const CLOUDS: readonly SourceInfo[] = [
  { name: "aws", label: "AWS", colour: "amber", shape: "triangle", built_in: true },
  { name: "gcp", label: "GCP", colour: "green", shape: "circle", built_in: true },
  { name: "azure", label: "Azure", colour: "violet", shape: "diamond", built_in: true },
];

export const UNKNOWN = "unknown";
const NAME = /^[a-z][a-z0-9-]{0,31}$/;

let known = CLOUDS;

/** Replaces the sources. Components that show them are mounted again by their parent. */
export function setSources(infos: readonly SourceInfo[]): void {
  known = infos;
  document.documentElement.style.setProperty("--badge", badgeWidth(infos));
}

/** Every source, in display order. */
export const sources = (): readonly SourceInfo[] => known;

/** Whether a text can be the name of a source, declared or not: events of a source that was removed remain. */
export function isSource(text: unknown): text is Source {
  return typeof text === "string" && text !== UNKNOWN && NAME.test(text);
}

/** Whether a source is one of the clouds, which have a topic for replays. */
export function isCloud(source: string | null): source is "aws" | "gcp" | "azure" {
  return CLOUDS.some(({ name }) => name === source);
}

/** How a source is shown; null for one that is not declared. */
export const sourceInfo = (source: string | null): SourceInfo | null => known.find(({ name }) => name === source) ?? null;

/** The name that people read, or the text of any other source; null is a leg that accepts any source. */
export const sourceName = (source: string | null): string => sourceInfo(source)?.label ?? source ?? "any source";

/** A place in display order, for patterns that distinguish sources without colour; the last for one not declared. */
export function placeOf(source: Source): number {
  const place = known.findIndex(({ name }) => name === source);
  return place < 0 ? known.length : place;
}

/** The width of a column of badges: long labels are cut, as a column has the same width in every row. */
function badgeWidth(infos: readonly SourceInfo[]): string {
  const longest = Math.max(...infos.map(({ label }) => label.length));
  return `${Math.min(9, Math.max(4.75, 2.1 + 0.5 * longest)).toFixed(2)}rem`;
}
