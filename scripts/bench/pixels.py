"""From a publisher's call to the pixel, through all of Helios, and what a busy stream costs the page."""

import sys
from collections.abc import Sequence
from pathlib import Path

from local.stack.config import REPOSITORY, Config
from local.stack.ports import HOST, free_ports
from local.stack.probes import accepts
from local.stack.process import scrubbed_environment
from local.stack.server import Command
from scripts.bench import chromium
from scripts.bench.page import Watched, watched
from scripts.bench.publish import CHANNELS
from scripts.bench.publishing import finish, publishing, settle, stored, wait_until_begun
from scripts.bench.report import Cell, Table, median, percentile
from scripts.bench.servers import Servers, demo

RATES = (10, 100, 1000)
BUSY_RATE = 1000
LOOKS = 20


def measure(running: Servers, *, quick: bool) -> list[Table]:
    """Milliseconds to the pixel by way in and rate; then frames, memory and counts of a page that is open for long."""
    if chromium.find() is None:
        raise SystemExit("pixels: neither Chromium nor Chrome is installed")
    seconds, long = (3, 10) if quick else (10, 120)
    with demo(Path(running.folder) / "demo") as config, watched(config.dashboard_url) as page:
        paint = page.first_paint()
        for way in CHANNELS:  # cold starts: `imports` measures those
            _to_pixel(config, page, way, RATES[0], 1)
        rows = [_to_pixel(config, page, way, rate, seconds) for way in CHANNELS for rate in RATES]
        busy = _busy(config, page, long)
    return [
        Table(
            title="From the call that publishes to the drawn row, ms",
            columns=("way in", "events/s", "taken", "p50", "p99", "rows", "later", "never"),
            rows=rows,
            goal="the promise is 500. Above 40 events/s the list is a sample: rows drawn as they came, of which the"
            " times are; drawn later, once there was time for them; and never drawn. The totals count all.",
        ),
        Table(
            title=f"A page that is open for {long} s at {BUSY_RATE} webhooks a second",
            columns=("", "measured"),
            rows=[("first contentful paint, ms", paint), *busy],
            goal="goals: first paint below 1000, at least 50 frames/s, flat memory, counts exact",
        ),
        Table(
            title=f"The same page, fed {BUSY_RATE} events a second for {long} s by a server that does nothing else",
            columns=("", "measured"),
            rows=_alone(Path(running.folder), long),
            goal="goals: at least 50 frames/s, flat memory. No GPU here: the processor draws, too.",
        ),
    ]


def _to_pixel(config: Config, page: Watched, way: str, rate: int, seconds: float) -> tuple[Cell, ...]:
    before = stored(config)
    with publishing(config, way, rate, seconds) as publisher:
        wait_until_begun(publisher)
        page.look()
        taken = finish(publisher)
    settle(config, before + taken)
    page.wait_for_total(stored(config))
    page.settle()
    seen = page.seen()
    latencies, timed = seen.latencies, taken - 1  # the first one only wakes what sleeps
    half, most = (percentile(latencies, percent) if latencies else "none" for percent in (50, 99))
    never = timed - len(latencies) - seen.left_out
    return way, rate, timed, half, most, len(latencies), seen.left_out, never


def _busy(config: Config, page: Watched, seconds: float) -> list[tuple[Cell, ...]]:
    before, heaps, behind = stored(config), [page.heap_megabytes()], []
    with publishing(config, "webhook", BUSY_RATE, seconds) as publisher:
        wait_until_begun(publisher)
        page.look()
        for look in range(1, LOOKS + 1):
            page.wait(seconds / LOOKS)
            behind.append(_behind(config, page))
            if look == LOOKS // 2:
                heaps.append(page.heap_megabytes())
        seen = page.seen()
        taken = finish(publisher)
    settle(config, before + taken)
    exact = page.wait_for_total(stored(config))
    heaps.append(page.heap_megabytes())
    return [
        ("events taken", taken),
        ("frames/s", seen.frames_per_second),
        ("longest frame, ms", seen.longest_frame),
        *_memory(heaps),
        (f"total shown behind /stats, of {LOOKS} looks the middle one", median(behind)),
        ("and the worst, events", max(behind)),
        ("total shown = /stats at the end", "yes" if exact else "no"),
    ]


def _memory(heaps: Sequence[float]) -> list[tuple[Cell, ...]]:
    return [(f"memory {when}, MB", heap) for when, heap in zip(("before", "half-way", "after"), heaps, strict=True)]


def _behind(config: Config, page: Watched) -> int:
    """How many events the first card lacks just now, or has too many; those that come between the looks count not."""
    least, shown, most = stored(config), page.total(), stored(config)
    return max(0, least - shown, shown - most)


def _alone(folder: Path, seconds: float) -> list[tuple[Cell, ...]]:
    page_port, api_port = free_ports(2)
    feed = Command(
        "feed",
        [sys.executable, "-m", "scripts.bench.feed", str(BUSY_RATE), str(page_port), str(api_port)],
        env=scrubbed_environment(),
        ready=accepts(page_port),
        log=folder / "feed.log",
        cwd=REPOSITORY,
    )
    with feed, watched(f"http://{HOST}:{page_port}/") as page:
        page.wait(3)  # it has loaded
        first, heaps, busy = page.total(), [page.heap_megabytes()], page.busy_seconds()
        page.look()
        page.wait(seconds / 2)
        heaps.append(page.heap_megabytes())
        page.wait(seconds / 2)
        seen = page.seen()
        worked = page.busy_seconds() - busy
        return [
            ("events/s shown", (page.total() - first) / seconds),
            ("frames/s", seen.frames_per_second),
            ("longest frame, ms", seen.longest_frame),
            ("main thread at work, ms in a second", worked / seconds * 1000),
            *_memory([*heaps, page.heap_megabytes()]),
        ]
