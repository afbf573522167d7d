// Looks at a running dashboard in a real browser: screenshots in light, dark and narrow, and what axe finds.
//
//   npm run look -- http://localhost:5173 folder
//
// CHROME names the browser when it is not Debian's Chromium. Exits with 1 on a violation or an error of the page.
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

import { chromium } from "playwright-core";

const [url = "http://localhost:5173", folder = "screenshots"] = process.argv.slice(2);
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const WIDE = { width: 1440, height: 1000 };
const NARROW = { width: 360, height: 740 };

const VIEWS = [
  { name: "light", viewport: WIDE, colorScheme: "light" },
  { name: "dark", viewport: WIDE, colorScheme: "dark" },
  { name: "narrow", viewport: { width: 360, height: 2000 }, colorScheme: "light" },
  { name: "narrow-dark", viewport: NARROW, colorScheme: "dark" },
  { name: "drawer", viewport: WIDE, colorScheme: "light", open: true },
  { name: "drawer-dark", viewport: NARROW, colorScheme: "dark", open: true },
  { name: "orders", viewport: WIDE, colorScheme: "light", orders: true },
  { name: "orders-dark", viewport: WIDE, colorScheme: "dark", orders: true },
  { name: "orders-narrow", viewport: { width: 360, height: 2000 }, colorScheme: "dark", orders: true },
  { name: "order", viewport: WIDE, colorScheme: "light", orders: true, open: true },
  { name: "order-dark", viewport: WIDE, colorScheme: "dark", orders: true, open: true },
  { name: "order-narrow", viewport: { width: 360, height: 2000 }, colorScheme: "light", orders: true, open: true },
];

let faults = 0;
const fault = (text) => {
  faults += 1;
  console.error(text);
};

async function look(browser, { name, orders, open, ...options }) {
  // axe is injected as a script, which the page's own policy rightly refuses.
  const context = await browser.newContext({ ...options, bypassCSP: true, deviceScaleFactor: 1.5 });
  const page = await context.newPage();
  page.on("console", (message) => message.type() === "error" && fault(`${name}: ${message.text()}`));
  page.on("pageerror", (error) => fault(`${name}: ${error.message}`));
  await page.goto(orders ? new URL("?view=reconciliation", url).href : url);
  await page.locator("[data-row]").first().waitFor();
  if (!orders) {
    await page.locator(".recharts-area").first().waitFor();
    await page.waitForTimeout(2500); // for the sparklines to have a shape
  }
  if (open) {
    await page.locator("[data-row]").nth(orders ? 0 : 2).click();
    await page.locator(orders ? "[aria-label='The legs side by side']" : "dialog pre").waitFor();
  }
  await page.screenshot({ path: join(folder, `${name}.png`) });
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  if (overflow > 0) fault(`${name}: ${overflow} px too wide`);
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  for (const { id, impact, help, nodes } of violations) {
    fault(`${name}: axe ${impact}: ${id}: ${help}\n  ${nodes.map((node) => node.html.slice(0, 160)).join("\n  ")}`);
  }
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
