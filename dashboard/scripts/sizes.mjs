// Prints what a visitor downloads, and fails the build when the JavaScript is over its limit.
import { readdirSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const LIMIT_KB = 200;
const assets = new URL("../dist/assets/", import.meta.url);

const rows = readdirSync(assets)
  .filter((name) => /\.(js|css|woff2)$/.test(name))
  .map((name) => {
    const content = readFileSync(new URL(name, assets));
    // Fonts are compressed already.
    return { name, kB: (name.endsWith(".woff2") ? content : gzipSync(content, { level: 9 })).length / 1000 };
  })
  .sort((one, other) => other.kB - one.kB);

for (const { name, kB } of rows) console.log(`${kB.toFixed(1).padStart(8)} kB  ${name}`);
const total = rows.filter(({ name }) => name.endsWith(".js")).reduce((sum, { kB }) => sum + kB, 0);
console.log(`${total.toFixed(1).padStart(8)} kB  JavaScript in all, gzipped (limit ${LIMIT_KB} kB)`);
if (total > LIMIT_KB) {
  console.error(`Over the limit of ${LIMIT_KB} kB: split it, or drop a dependency.`);
  process.exit(1);
}
