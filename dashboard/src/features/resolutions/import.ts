/** The steps of a CSV file, as `helios resolutions import` reads it. */
import { csvRows, type CsvRow } from "@/lib/csv";
import { NEED_TEXT, STEPS, type Step } from "@/lib/resolutions";

import type { ResolutionRequest } from "./api";

/** The columns; the last two may be left out. */
export const COLUMNS = ["flow", "key", "step", "text", "assignee"] as const;
type Column = (typeof COLUMNS)[number];
const NEEDED = COLUMNS.slice(0, 3);

/** The most flow instances of a request. */
const MOST = 10_000;

interface Line {
  instance: { flow: string; key: string };
  step: Step;
  text: string | null;
  assignee: string | null;
}

/**
 * One request for all rows with the same step, text and assignee, so that each group is undone in one.
 *
 * @throws Error the file is wrong; the message names the line.
 */
export function requestsOf(file: string): ResolutionRequest[] {
  const [head, ...rows] = csvRows(file);
  const names = head?.values ?? [];
  const missing = NEEDED.filter((name) => !names.includes(name));
  if (missing.length > 0) throw new Error(`line 1: the column ${missing.join(", ")} is missing`);
  if (rows.length === 0) throw new Error(`the file has no rows below its line of names: ${names.join(", ")}`);
  const unknown = names.find((name) => !COLUMNS.some((column) => column === name));
  if (unknown !== undefined) throw new Error(`line 1: there is no column ${unknown}, only ${COLUMNS.join(", ")}`);
  const groups = new Map<string, ResolutionRequest[]>();
  for (const row of rows) add(groups, lineOf(names, row));
  return [...groups.values()].flat();
}

function add(groups: Map<string, ResolutionRequest[]>, { instance, step, text, assignee }: Line): void {
  const group = JSON.stringify([step, text, assignee]);
  const requests = groups.get(group) ?? [];
  groups.set(group, requests);
  const last = requests.at(-1)?.instances;
  if (last && last.length < MOST) last.push(instance);
  else requests.push({ step, text, assignee, instances: [instance], filter: null, dry_run: false });
}

function lineOf(names: string[], { line, values }: CsvRow): Line {
  if (values.length !== names.length) throw new Error(`line ${line}: it has another number of columns`);
  const value = (name: Column): string | null => values[names.indexOf(name)] || null;
  const [flow, key, named, text, assignee] = COLUMNS.map(value);
  const step = STEPS.find((each) => each === named);
  if (!flow || !key) throw new Error(`line ${line}: flow and key are needed`);
  if (!step) throw new Error(`line ${line}: step is ${named ?? "empty"}, and must be ${STEPS.join(", ")}`);
  if (NEED_TEXT.includes(step) && !text) throw new Error(`line ${line}: text is needed for ${step}`);
  return { instance: { flow, key }, step, text: text ?? null, assignee: assignee ?? null };
}
