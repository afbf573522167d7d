// Checks a page in a browser as Lighthouse does: first paint, download size, layout shift, document metadata,
// target sizes, and the findings of axe.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export const LIMITS = {
  /** Milliseconds until the first contentful paint. */
  paint: 1000,
  /** Compressed kB of JavaScript. */
  script: 200,
  /** Cumulative layout shift; Lighthouse rates 0.1 as good. */
  shift: 0.1,
  /** CSS pixels in both directions, WCAG 2.2, 2.5.8. */
  target: 24,
};

/** Runs in the page before the page's own scripts. */
export function watchShifts() {
  globalThis.shifts = 0;
  new PerformanceObserver((list) => {
    for (const { value, hadRecentInput } of list.getEntries()) if (!hadRecentInput) globalThis.shifts += value;
  }).observe({ type: "layout-shift", buffered: true });
}

/** Runs in the page: measures it, and lists the controls that are too small to hit. */
function measure(least) {
  const scripts = performance.getEntriesByType("resource").filter(({ name }) => new URL(name).pathname.endsWith(".js"));
  const small = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")]
    .filter((each) => each.checkVisibility({ visibilityProperty: true }) && !each.closest(".sr-only") && !each.matches(".sr-only"))
    // A link within a sentence is as high as its line.
    .filter((each) => getComputedStyle(each).display !== "inline" || each.closest("p, dd, li") === null)
    // A click on the label counts as a click on its input.
    .map((each) => [each, (each.matches("input") && each.closest("label") ? each.closest("label") : each).getBoundingClientRect()])
    .filter(([, box]) => box.width > 0 && (box.width < least || box.height < least))
    .map(([each, box]) => `${Math.round(box.width)} × ${Math.round(box.height)}: ${each.outerHTML.slice(0, 120)}`);
  return {
    paint: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? Infinity,
    script: scripts.reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0) / 1000,
    shift: globalThis.shifts,
    overflow: document.documentElement.scrollWidth - innerWidth,
    small,
    missing: [
      !document.documentElement.lang && "lang",
      !document.title && "title",
      !document.querySelector("meta[name=description]")?.content && "description",
      !document.querySelector("meta[name=viewport]") && "viewport",
      !document.querySelector("main") && "main",
      document.querySelectorAll("h1").length !== 1 && "one h1",
    ].filter(Boolean),
  };
}

/** The page's measurements, and one sentence per fault. */
export async function check(page) {
  const measured = await page.evaluate(measure, LIMITS.target);
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  const faults = [
    measured.paint > LIMITS.paint && `first paint after ${Math.round(measured.paint)} ms`,
    measured.script > LIMITS.script && `${measured.script.toFixed(1)} kB of JavaScript`,
    measured.shift > LIMITS.shift && `the layout shifts by ${measured.shift.toFixed(3)}`,
    measured.overflow > 0 && `${measured.overflow} px too wide`,
    ...measured.missing.map((what) => `the document has no ${what}`),
    ...measured.small.map((what) => `hard to hit: ${what}`),
    ...violations.map(
      ({ id, impact, help, nodes }) =>
        `axe ${impact}: ${id}: ${help}\n  ${nodes.map((node) => node.html.slice(0, 160)).join("\n  ")}`,
    ),
  ].filter(Boolean);
  return { ...measured, faults };
}
