// Fails when modules of src/ import each other in a circle, and says which: `node scripts/cycles.mjs [folder]`.
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

import ts from "typescript";

const ROOT = resolve(process.argv[2] ?? join(import.meta.dirname, "../src"));
const ENDINGS = ["", ".ts", ".tsx", ".d.ts", "/index.ts", "/index.tsx"];

/** The file of src/ that an import names; undefined: it is a package's, or no module. */
function target(from, name) {
  const path = name.startsWith("@/") ? join(ROOT, name.slice(2)) : name.startsWith(".") ? join(dirname(from), name) : undefined;
  return path && ENDINGS.map((ending) => path + ending).find((file) => /\.tsx?$/.test(file) && existsSync(file) && statSync(file).isFile());
}

/** The modules that a module imports: statically, dynamically, again as its own exports, or for their types alone. */
function importsOf(file) {
  const { importedFiles } = ts.preProcessFile(readFileSync(file, "utf8"), true, true);
  return importedFiles.map(({ fileName }) => target(file, fileName)).filter(Boolean);
}

const modules = readdirSync(ROOT, { recursive: true, encoding: "utf8" }).filter((name) => /\.tsx?$/.test(name));
const graph = new Map(modules.sort().map((name) => [join(ROOT, name), importsOf(join(ROOT, name))]));
const done = new Set();
const cycles = [];

function visit(file, path) {
  const start = path.indexOf(file);
  if (start >= 0) {
    cycles.push([...path.slice(start), file].map((each) => relative(ROOT, each)).join(" -> "));
  } else if (!done.has(file)) {
    for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
    done.add(file);
  }
}

for (const file of graph.keys()) visit(file, []);
for (const cycle of cycles) console.error(`import cycle: ${cycle}`);
process.exitCode = cycles.length > 0 ? 1 : 0;
