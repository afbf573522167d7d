// Prints the download size of each file, and fails the build when the JavaScript of a view exceeds the limit.
import { readdirSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const LIMIT_KB = 200;
/** The drawer opens on top of the events, so that its view is that of the events and the drawer together. */
const LIMITS_KB = { "an event's drawer": 205 };
/** The chunks that each view loads when a visitor opens it; the chart library loads after the totals are visible. */
const VIEWS = {
  events: ["index.html", "src/features/charts/throughput-chart.tsx"],
  "an event's drawer": ["index.html", "src/features/charts/throughput-chart.tsx", "src/features/event-details/event-drawer.tsx"],
  reconciliation: ["index.html", "src/features/reconciliation/overview.tsx"],
  "an order": ["index.html", "src/app/order-page.tsx"],
  rules: ["index.html", "src/features/rules/rules-view.tsx"],
  "dead letters": ["index.html", "src/app/dead-letters-view.tsx", "src/features/replay/replay-dialog.tsx"],
};
const dist = new URL("../dist/", import.meta.url);

const manifest = JSON.parse(readFileSync(new URL(".vite/manifest.json", dist), "utf8"));

function withImports(name) {
  const chunk = manifest[name];
  if (!chunk) throw new Error(`${name} is no longer a chunk of its own. Update VIEWS.`);
  return [chunk.file, ...(chunk.imports ?? []).flatMap(withImports)];
}

const rows = readdirSync(new URL("assets/", dist))
  .filter((name) => /\.(js|css|woff2)$/.test(name))
  .map((name) => {
    const content = readFileSync(new URL(`assets/${name}`, dist));
    // Font files are already compressed.
    return { name, kB: (name.endsWith(".woff2") ? content : gzipSync(content, { level: 9 })).length / 1000 };
  })
  .sort((one, other) => other.kB - one.kB);
const sum = (some) => some.reduce((total, { kB }) => total + kB, 0);
const print = (kB, what) => console.log(`${kB.toFixed(1).padStart(8)} kB  ${what}`);

for (const { name, kB } of rows) print(kB, name);
const scripts = rows.filter(({ name }) => name.endsWith(".js"));
print(sum(scripts), "JavaScript in total, gzipped");
let over = false;
for (const [view, entries] of Object.entries(VIEWS)) {
  const files = new Set(entries.flatMap(withImports));
  const kB = sum(scripts.filter(({ name }) => files.has(`assets/${name}`)));
  const limit = LIMITS_KB[view] ?? LIMIT_KB;
  print(kB, `for ${view} (limit ${limit} kB)`);
  over ||= kB > limit;
}
if (over) {
  console.error("A view exceeds its limit of JavaScript. Split it, or drop a dependency.");
  process.exit(1);
}
