/** What Helios made of a payload: where each of its own fields stands there, and what it left where it was. */
import { entries, member } from "@/lib/json-text";

/** Of the envelope and of Helios itself; `data` is the payload. */
const OWN = ["data", "digest", "received_at"];

export interface Field {
  name: string;
  /** As Helios keeps it. */
  kept: string;
  /** Where the payload says it; null: the envelope does. */
  path: string | null;
  /** As the payload spells it, where that differs. */
  spelt: string | null;
}

export interface Difference {
  fields: Field[];
  /** Members of the payload that no field of Helios was read from. */
  untouched: string[];
}

/** @param normalised all of the event, as text. */
export function differenceOf(normalised: string): Difference {
  const payload = entries(member(normalised, "data") ?? "");
  const fields = entries(normalised)
    .filter(([name, json]) => !OWN.includes(name) && json !== "null")
    .map(([name, json]): Field => {
      const kept = text(json);
      const [path, spelt] = payload.find(([, value]) => same(value, json)) ?? [null, null];
      return { name, kept, path, spelt: spelt !== null && spelt !== json ? spelt : null };
    });
  const read = new Set(fields.map(({ path }) => path));
  return { fields, untouched: payload.map(([name]) => name).filter((name) => !read.has(name)) };
}

const text = (json: string): string => (json.startsWith('"') ? (JSON.parse(json) as string) : json);

/** 10.00 and "10.00" say the same: an amount is kept as text, digit by digit as it was sent. */
const same = (one: string, other: string): boolean => text(one) === text(other);
