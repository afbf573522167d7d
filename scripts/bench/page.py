"""The dashboard in a headless browser, with a script that records when each row is drawn."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from playwright.sync_api import Page, sync_playwright

from scripts.bench import chromium

PATIENCE_MS = 60_000

ROWS_PER_SECOND = 40
"""The dashboard's limit: if more rows are drawn at once, they are rows that it had omitted before."""

# The script records a row in the animation frame after the one in which the row was inserted, so it has been drawn.
# When a busy stream becomes idle, the list shows the omitted rows at once: their times are not latencies.
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


class Record(NamedTuple):
    """The record since the last reset.

    Attributes:
        latencies: ms from an event's due time until its row was drawn, of every row that was drawn live.
        left_out: rows that were omitted at first and drawn later.
        frames_per_second: animation frames per second.
        longest_frame: longest time between two frames, in ms.
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

    def reset(self) -> None:
        """Reset the record."""
        self._page.evaluate("eye.reset()")

    def wait(self, seconds: float) -> None:
        """Wait while the page runs."""
        self._page.wait_for_timeout(seconds * 1000)

    def record(self) -> Record:
        """The record since ``reset``."""
        values = self._page.evaluate(_READ)
        return Record(values["latencies"], values["leftOut"], values["framesPerSecond"], values["longestFrame"])

    def settle(self) -> None:
        """Return once the list has drawn the omitted rows."""
        self._page.wait_for_function("() => performance.now() - eye.changed > 2500")

    def first_paint(self) -> float:
        """Milliseconds to the first contentful paint; the median of five loads."""
        paints = []
        for _ in range(5):
            self._page.reload()
            self._page.locator("[data-phase=live]").wait_for()
            paints.append(self._page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        return float(sorted(paints)[2])

    def heap_megabytes(self) -> float:
        """The size of the live JavaScript objects."""
        self._devtools.send("HeapProfiler.collectGarbage")
        return self._metrics()["JSHeapUsedSize"] / 1e6

    def busy_seconds(self) -> float:
        """The CPU time of the page's main thread so far."""
        return self._metrics()["TaskDuration"]

    def total(self) -> int:
        """The number in the first card."""
        return int(self._page.evaluate(_TOTAL).replace(",", ""))

    def _metrics(self) -> dict[str, float]:
        metrics = self._devtools.send("Performance.getMetrics")["metrics"]
        return {metric["name"]: float(metric["value"]) for metric in metrics}

    def wait_for_total(self, total: int) -> bool:
        """True once the first card shows exactly this number; raises a timeout otherwise."""
        self._page.wait_for_function(f"(total) => {_TOTAL} === total", arg=f"{total:,}")
        return True


@contextmanager
def watched(url: str) -> Iterator[Watched]:
    """The dashboard in a browser that is open during the block.

    Raises:
        FileNotFoundError: no browser is installed.
    """
    executable = chromium.find()
    if executable is None:
        raise FileNotFoundError("neither Chromium nor Chrome is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=chromium.ARGUMENTS)
        yield Watched(browser.new_page(viewport={"width": 1440, "height": 1000}), url)
        browser.close()
