// Prints what a visitor downloads, and fails the build when the JavaScript of the first view is over its limit.
import { readdirSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const LIMIT_KB = 200;
/** What the page fetches by itself as soon as it is there; the other views come when they are opened. */
const AT_START = ["index.html", "src/features/charts/throughput-chart.tsx"];
const dist = new URL("../dist/", import.meta.url);

const manifest = JSON.parse(readFileSync(new URL(".vite/manifest.json", dist), "utf8"));
const atStart = new Set(AT_START.flatMap(withImports));

function withImports(name) {
  const chunk = manifest[name];
  if (!chunk) throw new Error(`${name} is no chunk of its own any more: say here what loads at the start`);
  return [chunk.file, ...(chunk.imports ?? []).flatMap(withImports)];
}

const rows = readdirSync(new URL("assets/", dist))
  .filter((name) => /\.(js|css|woff2)$/.test(name))
  .map((name) => {
    const content = readFileSync(new URL(`assets/${name}`, dist));
    // Fonts are compressed already.
    return { name, kB: (name.endsWith(".woff2") ? content : gzipSync(content, { level: 9 })).length / 1000 };
  })
  .sort((one, other) => other.kB - one.kB);
const sum = (some) => some.reduce((total, { kB }) => total + kB, 0);
const print = (kB, what) => console.log(`${kB.toFixed(1).padStart(8)} kB  ${what}`);

for (const { name, kB } of rows) print(kB, name);
const scripts = rows.filter(({ name }) => name.endsWith(".js"));
const first = sum(scripts.filter(({ name }) => atStart.has(`assets/${name}`)));
print(sum(scripts), "JavaScript in all, gzipped");
print(first, `of it for the first view (limit ${LIMIT_KB} kB)`);
if (first > LIMIT_KB) {
  console.error(`Over the limit of ${LIMIT_KB} kB: split it, or drop a dependency.`);
  process.exit(1);
}
