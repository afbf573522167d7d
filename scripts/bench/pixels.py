"""From a publisher's call to the pixel, through all of Helios, and what a busy stream costs the page."""

import sys
from pathlib import Path

from local import chromium
from local.config import REPOSITORY, Config
from local.ports import HOST, free_ports
from local.probes import accepts
from local.process import scrubbed_environment
from local.server import Command
from scripts.bench.page import Watched, watched
from scripts.bench.publish import WAYS
from scripts.bench.publishing import finish, publishing, settle, stored, wait_until_begun
from scripts.bench.report import Cell, Table, percentile
from scripts.bench.servers import Servers, demo

RATES = (10, 100, 1000)
BUSY_RATE = 1000


def measure(running: Servers, *, quick: bool) -> list[Table]:
    """Milliseconds to the pixel by way in and rate; then frames, memory and counts of a page that is open for long."""
    if chromium.find() is None:
        raise SystemExit("pixels: neither Chromium nor Chrome is installed")
    seconds, long = (3, 10) if quick else (10, 120)
    with demo(Path(running.folder) / "demo") as config, watched(config.dashboard_url) as page:
        paint = page.first_paint()
        for way in WAYS:  # cold starts: `imports` measures those
            _to_pixel(config, page, way, RATES[0], 1)
        rows = [_to_pixel(config, page, way, rate, seconds) for way in WAYS for rate in RATES]
        busy = _busy(config, page, long)
    return [
        Table(
            title="From the call that publishes to the drawn row, ms",
            columns=("way in", "events/s", "taken", "p50", "p99", "rows seen"),
            rows=rows,
            goal="the promise is 500. Above 40 events/s the list is a sample, and these are its rows.",
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
        seen = page.watch(seconds)
        taken = finish(publisher)
    settle(config, before + taken)
    page.wait_for_total(stored(config))
    latencies = seen.latencies
    half, most = (percentile(latencies, percent) if latencies else "none" for percent in (50, 99))
    return way, rate, taken, half, most, len(latencies)


def _busy(config: Config, page: Watched, seconds: float) -> list[tuple[Cell, ...]]:
    before, heap = stored(config), page.heap_megabytes()
    with publishing(config, "webhook", BUSY_RATE, seconds) as publisher:
        wait_until_begun(publisher)
        seen = page.watch(seconds)
        taken = finish(publisher)
    settle(config, before + taken)
    exact = page.wait_for_total(stored(config))
    return [
        ("events taken", taken),
        ("frames/s", seen.frames_per_second),
        ("longest frame, ms", seen.longest_frame),
        ("memory before, MB", heap),
        ("memory after, MB", page.heap_megabytes()),
        ("total shown = /stats", "yes" if exact else "no"),
    ]


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
        page.watch(3)  # it has loaded
        first, heap, busy = page.total(), page.heap_megabytes(), page.busy_seconds()
        seen = page.watch(seconds)
        worked = page.busy_seconds() - busy
        return [
            ("events/s shown", (page.total() - first) / seconds),
            ("frames/s", seen.frames_per_second),
            ("longest frame, ms", seen.longest_frame),
            ("main thread at work, ms in a second", worked / seconds * 1000),
            ("memory before, MB", heap),
            ("memory after, MB", page.heap_megabytes()),
        ]
