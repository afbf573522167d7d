"""The dashboard in a headless browser, and an eye in it that sees when a row is drawn."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from playwright.sync_api import Page, sync_playwright

from scripts.bench import chromium

PATIENCE_MS = 60_000

ROWS_PER_SECOND = 40
"""The dashboard's: more than these, drawn at once, are no live ones."""

# A row is noticed in the animation frame after the one in which it was put into the page, so it has been drawn. When a
# busy stream grows calm, the list shows at once what it had left out: those rows waited for that, and say nothing of
# how long they were under way.
_EYE = r"""
window.eye = { seen: new Set(), changed: 0 };
eye.reset = () => {
  const now = performance.now();
  Object.assign(eye, { latencies: [], leftOut: 0, frames: 0, longest: 0, since: now, last: now });
};
eye.reset();
const look = (now) => {
  eye.frames += 1;
  eye.longest = Math.max(eye.longest, now - eye.last);
  eye.last = now;
  const drawn = [];
  for (const row of document.querySelectorAll("[data-row]")) {
    if (eye.seen.has(row.dataset.row)) continue;
    eye.seen.add(row.dataset.row);
    const due = /ORD-(\d{13})-/.exec(row.textContent)?.[1];
    if (due) drawn.push(Date.now() - Number(due));
  }
  if (drawn.length > 0) eye.changed = now;
  if (drawn.length > ROWS_PER_SECOND) eye.leftOut += drawn.length;
  else eye.latencies.push(...drawn);
  requestAnimationFrame(look);
};
requestAnimationFrame(look);
""".replace("ROWS_PER_SECOND", str(ROWS_PER_SECOND))

_READ = """({
  latencies: eye.latencies,
  leftOut: eye.leftOut,
  framesPerSecond: (eye.frames * 1000) / (performance.now() - eye.since),
  longestFrame: eye.longest,
})"""

_TOTAL = "document.querySelector('article[aria-label=\"All events\"] p')?.textContent"


class Seen(NamedTuple):
    """What the eye saw since it was reset.

    Attributes:
        latencies: ms from when an event was due until its row was drawn, of every row that was when it came.
        left_out: rows that were drawn later, when there was time for them.
        frames_per_second: animation frames.
        longest_frame: ms from one frame to the next.
    """

    latencies: list[float]
    left_out: int
    frames_per_second: float
    longest_frame: float


class Watched:
    """The opened dashboard."""

    def __init__(self, page: Page, url: str) -> None:
        self._page = page
        page.set_default_timeout(PATIENCE_MS)
        page.add_init_script(_EYE)
        page.goto(url)
        page.locator("[data-phase=live]").wait_for()
        self._devtools = page.context.new_cdp_session(page)
        self._devtools.send("Performance.enable")

    def look(self) -> None:
        """Forget what was seen so far."""
        self._page.evaluate("eye.reset()")

    def wait(self, seconds: float) -> None:
        """Let the page go on for so long."""
        self._page.wait_for_timeout(seconds * 1000)

    def seen(self) -> Seen:
        """What was seen since ``look``."""
        seen = self._page.evaluate(_READ)
        return Seen(seen["latencies"], seen["leftOut"], seen["framesPerSecond"], seen["longestFrame"])

    def settle(self) -> None:
        """Return once the list has shown what it had left out."""
        self._page.wait_for_function("() => performance.now() - eye.changed > 2500")

    def first_paint(self) -> float:
        """Ms from the start of loading until something showed; of five loads the median."""
        paints = []
        for _ in range(5):
            self._page.reload()
            self._page.locator("[data-phase=live]").wait_for()
            paints.append(self._page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        return float(sorted(paints)[2])

    def heap_megabytes(self) -> float:
        """JavaScript objects that are still in use."""
        self._devtools.send("HeapProfiler.collectGarbage")
        return self._metrics()["JSHeapUsedSize"] / 1e6

    def busy_seconds(self) -> float:
        """How long the page's main thread has worked so far."""
        return self._metrics()["TaskDuration"]

    def total(self) -> int:
        """The number that the first card shows."""
        return int(self._page.evaluate(_TOTAL).replace(",", ""))

    def _metrics(self) -> dict[str, float]:
        return {one["name"]: float(one["value"]) for one in self._devtools.send("Performance.getMetrics")["metrics"]}

    def wait_for_total(self, total: int) -> bool:
        """Whether the first card comes to show exactly this number."""
        self._page.wait_for_function(f"(total) => {_TOTAL} === total", arg=f"{total:,}")
        return True


@contextmanager
def watched(url: str) -> Iterator[Watched]:
    """The dashboard in a browser, for as long as the block lasts.

    Raises:
        FileNotFoundError: there is no browser.
    """
    executable = chromium.find()
    if executable is None:
        raise FileNotFoundError("neither Chromium nor Chrome is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=chromium.ARGUMENTS)
        yield Watched(browser.new_page(viewport={"width": 1440, "height": 1000}), url)
        browser.close()
