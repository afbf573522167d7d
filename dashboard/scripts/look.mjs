// Takes screenshots of a running dashboard in light, dark and narrow, and reports the faults that checks.mjs finds.
//
//   npm run look -- http://localhost:5173 folder
//
// CHROME is the path of the browser if it is not Debian's Chromium. Exits with 1 on any fault or any error that the
// page logs.
import { mkdirSync } from "node:fs";
import { join } from "node:path";

import { chromium } from "playwright-core";

import { check, watchShifts } from "./checks.mjs";

const [url = "http://localhost:5173", folder = "screenshots"] = process.argv.slice(2);
const WIDE = { width: 1440, height: 1000 };
const MIDDLE = { width: 768, height: 1400 };
const NARROW = { width: 360, height: 740 };
const LONG = { width: 360, height: 2000 };

/** The pages: the view's parameter in the address, and the selector of the element that a click on a row opens. */
const PLACES = {
  events: { view: "", opened: "dialog pre", row: 2 },
  orders: { view: "?view=reconciliation&show=all", opened: "[aria-label='Leg comparison']", row: 0 },
  "dead-letters": { view: "?view=dead-letters", opened: "dialog pre", row: 0 },
};

const VIEWS = [
  { name: "light", viewport: WIDE, colorScheme: "light" },
  { name: "dark", viewport: WIDE, colorScheme: "dark" },
  { name: "middle", viewport: MIDDLE, colorScheme: "light" },
  { name: "narrow", viewport: LONG, colorScheme: "light" },
  { name: "narrow-dark", viewport: NARROW, colorScheme: "dark" },
  { name: "drawer", viewport: WIDE, colorScheme: "light", open: true },
  { name: "drawer-dark", viewport: NARROW, colorScheme: "dark", open: true },
  ...["orders", "dead-letters"].flatMap((place) => [
    { name: place, place, viewport: WIDE, colorScheme: "light" },
    { name: `${place}-dark`, place, viewport: WIDE, colorScheme: "dark" },
    { name: `${place}-middle`, place, viewport: MIDDLE, colorScheme: "dark" },
    { name: `${place}-narrow`, place, viewport: LONG, colorScheme: "dark" },
    { name: `${place}-opened`, place, viewport: WIDE, colorScheme: "light", open: true },
    { name: `${place}-opened-dark`, place, viewport: WIDE, colorScheme: "dark", open: true },
    { name: `${place}-opened-narrow`, place, viewport: LONG, colorScheme: "light", open: true },
  ]),
];

let faults = 0;
const fault = (text) => {
  faults += 1;
  console.error(text);
};

async function look(browser, { name, place = "events", open, ...options }) {
  const { view, opened, row } = PLACES[place];
  // The page's content security policy blocks axe, which is injected as a script.
  const context = await browser.newContext({ ...options, bypassCSP: true, deviceScaleFactor: 1.5 });
  const page = await context.newPage();
  page.on("console", (message) => message.type() === "error" && fault(`${name}: ${message.text()}`));
  page.on("pageerror", (error) => fault(`${name}: ${error.message}`));
  await page.addInitScript(watchShifts);
  await page.goto(new URL(view, url).href);
  await page.locator("[data-row]").first().waitFor();
  if (place === "events") {
    await page.locator(".recharts-area").first().waitFor();
    await page.waitForTimeout(2500); // the sparklines need a few seconds of data
  }
  if (open) {
    await page.locator("[data-row]").nth(row).click();
    await page.locator(opened).waitFor();
  }
  await page.screenshot({ path: join(folder, `${name}.png`) });
  const { paint, script, shift, faults: pageFaults } = await check(page);
  console.log(
    `${name.padEnd(22)} first paint ${Math.round(paint)} ms, JavaScript ${script.toFixed(1)} kB, shift ${shift.toFixed(3)}`,
  );
  for (const text of pageFaults) fault(`${name}: ${text}`);
  await context.close();
}

mkdirSync(folder, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.CHROME ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"],
});
try {
  for (const view of VIEWS) await look(browser, view);
} finally {
  await browser.close();
}
console.log(`${VIEWS.length} screenshots in ${folder}; ${faults} faults`);
process.exit(faults > 0 ? 1 : 0);
