"""From a publisher's call to the stored row, through each cloud's SDK, emulator and function; and many at once."""

import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import msgspec
import psycopg

from helios.model.events import Source
from local.servers import postgres
from local.stack.config import REPOSITORY, Config
from local.stack.process import scrubbed_environment
from local.stack.services import sdk_environment
from scripts.bench.publish import CHANNELS
from scripts.bench.publishing import SETTLE_SECONDS, finish, publishing, settle, stored, wait_until_begun
from scripts.bench.report import Cell, Table, percentile
from scripts.bench.servers import Servers, demo
from scripts.simulator.tally import Summary

SHARES: Mapping[str, int] = {"EventBridge": 4, "Pub/Sub": 3, "Event Grid": 3}
"""Events a second through each: ten in all, mixed as the shop's are."""
BUSY_RATE = 200
POLL_SECONDS = 0.005

_NEWEST = "SELECT source, order_id FROM events WHERE received_at > now() - interval '10 seconds'"
"""No commit takes longer; the fewer rows there are, the less the looking costs."""
_ROWS = "SELECT source, count(*), count(DISTINCT (order_id, type)) FROM events WHERE received_at >= %s GROUP BY 1"


def measure(running: Servers, *, quick: bool) -> list[Table]:
    """Milliseconds to the row by cloud, at ten events a second; then what becomes of many more."""
    seconds, long = (10, 10) if quick else (100, 60)
    folder = Path(running.folder) / "clouds"
    with demo(folder) as config:
        before = stored(config)
        settle(config, before + _publish(config, 1))  # cold starts: `imports` measures those
        rows = _to_row(config, seconds)
        busy, rate = _sustained(config, folder, BUSY_RATE * long)
    return [
        Table(
            title="From when an event was due to be published until its row can be seen, ms",
            columns=("way in", "events/s", "events", "p50", "p99", "most"),
            rows=rows,
            goal=f"goal: p99 below 250. All at once. Looked for every {POLL_SECONDS * 1000:g} ms, which is included.",
        ),
        Table(
            title=f"{BUSY_RATE} events/s for {long} s through the SDKs ({rate:.0f}/s were reached)",
            columns=("cloud", "accepted", "rows", "distinct legs", "share", "sent again"),
            rows=busy,
            goal="goals: as many rows and distinct legs as were accepted; shares within 2 points of 40/30/30",
        ),
    ]


def _publish(config: Config, seconds: float) -> int:
    """Publish all three ways at once; how many events were taken."""
    with ExitStack() as stack:
        publishers = [stack.enter_context(publishing(config, way, rate, seconds)) for way, rate in SHARES.items()]
        for publisher in publishers:
            wait_until_begun(publisher)
        return sum(map(finish, publishers))


def _to_row(config: Config, seconds: float) -> list[tuple[Cell, ...]]:
    with _Watch(config) as watch:
        taken = _publish(config, seconds)
        watch.wait_for(taken)
    rows: list[tuple[Cell, ...]] = []
    for way, rate in SHARES.items():
        _connecting, *latencies = watch.latencies(CHANNELS[way])
        half, most = (percentile(latencies, percent) for percent in (50, 99))
        rows.append((way, rate, len(latencies), half, most, max(latencies)))
    return rows


def _sustained(config: Config, folder: Path, count: int) -> tuple[list[tuple[Cell, ...]], float]:
    """A row for each cloud, and how many events a second it was in fact."""
    before, began = stored(config), datetime.now(UTC)
    summary = _simulate(config, folder / "sustained.json", count)
    settle(config, before + summary.total.accepted)
    with psycopg.connect(postgres.url(config.postgres_port)) as connection:
        found = {source: (rows, legs) for source, rows, legs in connection.execute(_ROWS, [began])}
    table: list[tuple[Cell, ...]] = []
    for source, said in summary.sources.items():
        rows, legs = found.get(source, (0, 0))
        share = f"{100 * rows / summary.total.accepted:.1f} %"
        table.append((source, said.accepted, rows, legs, share, said.retried))
    return table, summary.rate


def _simulate(config: Config, file: Path, count: int) -> Summary:
    options = ["--rate", str(BUSY_RATE), "--count", str(count), "--error-rate", "0", "--summary", str(file)]
    subprocess.run(
        [sys.executable, "-m", "scripts.simulator", "--via", "cloud", *options],
        cwd=REPOSITORY,
        env=scrubbed_environment(**sdk_environment(config)),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return msgspec.json.decode(file.read_bytes(), type=Summary)


class _Watch:
    """Notes when each row was first seen by others than its transaction."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._seen: dict[tuple[Source, str], float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._before = stored(self._config)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def wait_for(self, count: int) -> None:
        """Return once so many rows came since it began to look.

        Raises:
            RuntimeError: they were not seen, though they may be there.
        """
        settle(self._config, self._before + count)
        deadline = time.monotonic() + SETTLE_SECONDS
        while len(self._seen) < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{count - len(self._seen)} of {count} rows were never seen to come")
            time.sleep(POLL_SECONDS)

    def latencies(self, source: Source) -> list[float]:
        """Milliseconds from when an event was due until its row was seen, by when it was due."""
        due = {order: int(order.split("-")[1]) for cloud, order in self._seen if cloud == source}
        return [self._seen[source, order] * 1000 - due[order] for order in sorted(due, key=due.__getitem__)]

    def _look(self) -> None:
        with psycopg.connect(postgres.url(self._config.postgres_port), autocommit=True) as connection:
            known = set(connection.execute(_NEWEST))
            while not self._ended.wait(POLL_SECONDS):
                found = set(connection.execute(_NEWEST)) - known
                now = time.time()
                for row in found - self._seen.keys():
                    self._seen[row] = now
