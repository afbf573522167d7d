/** Maps each field of an event to its place in the payload, and lists the payload fields that Helios did not read. */
import { entries, member } from "@/lib/json-text";

/** Fields that never come from the payload; `data` is the payload itself. */
const OWN = ["data", "attributes", "digest", "received_at"];

export interface Field {
  name: string;
  /** The value that Helios stores. */
  value: string;
  /** The field of the payload that has this value; null: the value comes from the envelope. */
  path: string | null;
  /** The value as the payload writes it, if it differs. */
  spelling: string | null;
}

export interface Difference {
  fields: Field[];
  /** Payload fields that no field of the event was read from. */
  unread: string[];
}

/** @param normalised the whole event, as text. */
export function differenceOf(normalised: string): Difference {
  const payload = entries(member(normalised, "data") ?? "");
  const fields = entries(normalised)
    .filter(([name, json]) => !OWN.includes(name) && json !== "null")
    .map(([name, json]): Field => {
      const value = textOf(json);
      const [path, spelling] = payload.find(([, text]) => same(text, json)) ?? [null, null];
      return { name, value, path, spelling: spelling !== null && spelling !== json ? spelling : null };
    });
  const read = new Set(fields.map(({ path }) => path));
  return { fields, unread: payload.map(([name]) => name).filter((name) => !read.has(name)) };
}

const textOf = (json: string): string => (json.startsWith('"') ? (JSON.parse(json) as string) : json);

/** 10.00 and "10.00" are the same value: Helios stores an amount as text, with the digits that were sent. */
const same = (first: string, second: string): boolean => textOf(first) === textOf(second);
