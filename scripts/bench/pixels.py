"""Latency from a publisher's call to the drawn row, and the cost of a busy stream in the page."""

import sys
from collections.abc import Sequence
from pathlib import Path

from helios.processes.ports import HOST, free_ports
from helios.processes.probes import accepts
from helios.processes.process import scrubbed_environment
from helios.processes.server import Command
from local.stack.config import REPOSITORY, Config
from scripts.bench import chromium
from scripts.bench.page import Watched, watched
from scripts.bench.publish import CHANNELS
from scripts.bench.publishing import finish, publishing, settle, stored, wait_until_begun
from scripts.bench.report import Cell, Table, median, percentile
from scripts.bench.servers import Servers, demo

RATES = (10, 100, 1000)
BUSY_RATE = 1000
SAMPLES = 20


def measure(running: Servers, *, quick: bool) -> list[Table]:
    """Milliseconds to the drawn row by channel and rate; then frames, memory and counts of a page over a long time."""
    if chromium.find() is None:
        raise SystemExit("pixels: neither Chromium nor Chrome is installed")
    seconds, long = (3, 10) if quick else (10, 120)
    with demo(Path(running.folder) / "demo") as config, watched(config.dashboard_url) as page:
        paint = page.first_paint()
        for channel in CHANNELS:  # cold starts: `imports` measures those
            _to_pixel(config, page, channel, RATES[0], 1)
        rows = [_to_pixel(config, page, channel, rate, seconds) for channel in CHANNELS for rate in RATES]
        busy = _busy(config, page, long)
    return [
        Table(
            title="From the publisher's call to the drawn row, ms",
            columns=("channel", "events/s", "accepted", "p50", "p99", "rows", "drawn later", "not drawn"),
            rows=rows,
            goal="the promise is 500. Above 40 events/s the list is a sample. The times are those of rows that were"
            " drawn live; other rows were drawn later or not at all. The totals count all events.",
        ),
        Table(
            title=f"A page after {long} s with {BUSY_RATE} webhooks per second",
            columns=("", "measured"),
            rows=[("first contentful paint, ms", paint), *busy],
            goal="goals: first paint below 1000, at least 50 frames/s, constant memory, exact counts",
        ),
        Table(
            title=f"The same page with {BUSY_RATE} events per second for {long} s from a server that only sends frames",
            columns=("", "measured"),
            rows=_alone(Path(running.folder), long),
            goal="goals: at least 50 frames/s, constant memory. There is no GPU: the CPU also draws.",
        ),
    ]


def _to_pixel(config: Config, page: Watched, channel: str, rate: int, seconds: float) -> tuple[Cell, ...]:
    before = stored(config)
    with publishing(config, channel, rate, seconds) as publisher:
        wait_until_begun(publisher)
        page.reset()
        accepted = finish(publisher)
    settle(config, before + accepted)
    page.wait_for_total(stored(config))
    page.settle()
    record = page.record()
    latencies, timed = record.latencies, accepted - 1  # the first event only warms up connections and functions
    p50, p99 = (percentile(latencies, percent) if latencies else "none" for percent in (50, 99))
    not_drawn = timed - len(latencies) - record.left_out
    return channel, rate, timed, p50, p99, len(latencies), record.left_out, not_drawn


def _busy(config: Config, page: Watched, seconds: float) -> list[tuple[Cell, ...]]:
    before, heaps, behind = stored(config), [page.heap_megabytes()], []
    with publishing(config, "webhook", BUSY_RATE, seconds) as publisher:
        wait_until_begun(publisher)
        page.reset()
        for sample in range(1, SAMPLES + 1):
            page.wait(seconds / SAMPLES)
            behind.append(_behind(config, page))
            if sample == SAMPLES // 2:
                heaps.append(page.heap_megabytes())
        record = page.record()
        accepted = finish(publisher)
    settle(config, before + accepted)
    exact = page.wait_for_total(stored(config))
    heaps.append(page.heap_megabytes())
    return [
        ("events accepted", accepted),
        ("frames/s", record.frames_per_second),
        ("longest frame, ms", record.longest_frame),
        *_memory(heaps),
        (f"events that the shown total lacks of /stats, median of {SAMPLES} samples", median(behind)),
        ("the same, max", max(behind)),
        ("shown total = /stats at the end", "yes" if exact else "no"),
    ]


def _memory(heaps: Sequence[float]) -> list[tuple[Cell, ...]]:
    return [(f"memory {when}, MB", heap) for when, heap in zip(("before", "half-way", "after"), heaps, strict=True)]


def _behind(config: Config, page: Watched) -> int:
    """By how many events the first card is wrong now; events that arrive between the two queries do not count."""
    lower, shown, upper = stored(config), page.total(), stored(config)
    return max(0, lower - shown, shown - upper)


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
        page.wait(3)  # until the page has loaded
        first, heaps, busy = page.total(), [page.heap_megabytes()], page.busy_seconds()
        page.reset()
        page.wait(seconds / 2)
        heaps.append(page.heap_megabytes())
        page.wait(seconds / 2)
        record = page.record()
        worked = page.busy_seconds() - busy
        return [
            ("events/s shown", (page.total() - first) / seconds),
            ("frames/s", record.frames_per_second),
            ("longest frame, ms", record.longest_frame),
            ("main thread busy, ms per second", worked / seconds * 1000),
            *_memory([*heaps, page.heap_megabytes()]),
        ]
