/**
 * JSON as text, indented without parsing its values: 10.00 stays 10.00, long numbers keep their digits, and members
 * keep their order.
 */

/** Strings, punctuation, and everything else between white space. */
const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;

/** The text with one member or element per line. */
export function indent(json: string): string {
  let depth = 0;
  let out = "";
  let before = "";
  const line = (): string => `\n${"  ".repeat(depth)}`;
  for (const [token] of json.matchAll(TOKEN)) {
    if (token === "}" || token === "]") {
      depth--;
      if (before !== "{" && before !== "[") out += line();
    } else if (before === "{" || before === "[" || before === ",") out += line();
    out += token === ":" ? ": " : token;
    if (token === "{" || token === "[") depth++;
    before = token;
  }
  return out;
}

/**
 * The number of the line that holds a member in an indented JSON text, from 0; -1 if there is no such member.
 *
 * @param path the member names from the outermost object on, joined by dots; a name may contain dots.
 */
export function lineOf(indented: string, path: string): number {
  const parents: { depth: number; name: string }[] = [];
  return indented.split("\n").findIndex((line) => {
    const [, spaces = "", name] = /^( *)"((?:[^"\\]|\\.)*)": /.exec(line) ?? [];
    if (name === undefined) return false;
    while ((parents.at(-1)?.depth ?? -1) >= spaces.length) parents.pop();
    parents.push({ depth: spaces.length, name });
    return parents.map((each) => each.name).join(".") === path;
  });
}

/** The members of an object in their order, each with its text; empty if the text is not an object. */
export function entries(json: string): [name: string, text: string][] {
  const members: [string, string][] = [];
  let depth = 0;
  let key = "";
  let start = -1;
  for (const match of json.matchAll(TOKEN)) {
    const [token] = match;
    if (depth === 0 && token !== "{") return [];
    if (depth === 1 && (token === "," || token === "}")) {
      if (start >= 0) members.push([JSON.parse(key) as string, json.slice(start, match.index).trim()]);
      start = -1;
    } else if (depth === 1 && token === ":" && start < 0) start = match.index + 1;
    else if (depth === 1 && start < 0) key = token;
    if (token === "{" || token === "[") depth++;
    else if (token === "}" || token === "]") depth--;
  }
  return members;
}

/** The text of one member of an object, or null if it has no such member. */
export function member(json: string, name: string): string | null {
  return entries(json).find(([each]) => each === name)?.[1] ?? null;
}
