"""Latency from a publisher's call to the stored row through each cloud's SDK, emulator and function; throughput."""

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

from helios.embedded import postgres
from helios.model.sources import Source
from helios.processes.process import scrubbed_environment
from local.stack.config import REPOSITORY, Config
from local.stack.services import sdk_environment
from scripts.bench.publish import CHANNELS
from scripts.bench.publishing import SETTLE_SECONDS, finish, publishing, settle, stored, wait_until_begun
from scripts.bench.report import Cell, Table, percentile
from scripts.bench.servers import Servers, demo
from scripts.simulator.tally import Summary

SHARES: Mapping[str, int] = {"EventBridge": 4, "Pub/Sub": 3, "Event Grid": 3}
"""Events per second through each cloud: ten in total, in the mix of the shop."""
BUSY_RATE = 200
POLL_SECONDS = 0.005

_NEWEST = "SELECT source, order_id FROM events WHERE received_at > now() - interval '10 seconds'"
"""Rows of the last 10 s: no commit takes longer, and a query for few rows costs little."""
_ROWS = "SELECT source, count(*), count(DISTINCT (order_id, type)) FROM events WHERE received_at >= %s GROUP BY 1"


def measure(running: Servers, *, quick: bool) -> list[Table]:
    """Milliseconds to the row by cloud at ten events per second; then counts and shares at a higher rate."""
    seconds, long = (10, 10) if quick else (100, 60)
    folder = Path(running.folder) / "clouds"
    with demo(folder) as config:
        before = stored(config)
        settle(config, before + _publish(config, 1))  # cold starts: `imports` measures those
        rows = _to_row(config, seconds)
        busy, rate = _sustained(config, folder, BUSY_RATE * long)
    return [
        Table(
            title="From an event's due time until its row is visible, ms",
            columns=("channel", "events/s", "events", "p50", "p99", "max"),
            rows=rows,
            goal=f"goal: p99 below 250. All channels at once, with a poll interval of {POLL_SECONDS * 1000:g} ms.",
        ),
        Table(
            title=f"{BUSY_RATE} events/s for {long} s through the SDKs (actual rate {rate:.0f}/s)",
            columns=("cloud", "accepted", "rows", "distinct legs", "share", "retried"),
            rows=busy,
            goal="goals: rows and distinct legs equal to accepted events; shares within 2 points of 40/30/30",
        ),
    ]


def _database_url(config: Config) -> str:
    return postgres.url(config.postgres_port, config.credentials.postgres)


def _publish(config: Config, seconds: float) -> int:
    """Publish through all three channels at once; return how many events were accepted."""
    with ExitStack() as stack:
        publishers = [
            stack.enter_context(publishing(config, channel, rate, seconds)) for channel, rate in SHARES.items()
        ]
        for publisher in publishers:
            wait_until_begun(publisher)
        return sum(map(finish, publishers))


def _to_row(config: Config, seconds: float) -> list[tuple[Cell, ...]]:
    with _RowObserver(config) as observer:
        accepted = _publish(config, seconds)
        observer.wait_for(accepted)
    rows: list[tuple[Cell, ...]] = []
    for channel, rate in SHARES.items():
        _connecting, *latencies = observer.latencies(CHANNELS[channel])
        p50, p99 = (percentile(latencies, percent) for percent in (50, 99))
        rows.append((channel, rate, len(latencies), p50, p99, max(latencies)))
    return rows


def _sustained(config: Config, folder: Path, count: int) -> tuple[list[tuple[Cell, ...]], float]:
    """A row for each cloud, and the actual rate in events per second."""
    before, began = stored(config), datetime.now(UTC)
    summary = _simulate(config, folder / "sustained.json", count)
    settle(config, before + summary.total.accepted)
    with psycopg.connect(_database_url(config)) as connection:
        counts = {source: (rows, legs) for source, rows, legs in connection.execute(_ROWS, [began])}
    table: list[tuple[Cell, ...]] = []
    for source, sent in summary.sources.items():
        rows, legs = counts.get(source, (0, 0))
        share = f"{100 * rows / summary.total.accepted:.1f} %"
        table.append((source, sent.accepted, rows, legs, share, sent.retried))
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


class _RowObserver:
    """Records when each row was first visible to another connection."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._seen: dict[tuple[Source, str], float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def __enter__(self) -> Self:
        self._before = stored(self._config)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def wait_for(self, count: int) -> None:
        """Return once ``count`` rows were observed.

        Raises:
            RuntimeError: some rows were not observed in time, although they may be stored.
        """
        settle(self._config, self._before + count)
        deadline = time.monotonic() + SETTLE_SECONDS
        while len(self._seen) < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{count - len(self._seen)} of {count} rows were not observed")
            time.sleep(POLL_SECONDS)

    def latencies(self, source: Source) -> list[float]:
        """Milliseconds from an event's due time until its row was observed, ordered by due time."""
        due = {order: int(order.split("-")[1]) for cloud, order in self._seen if cloud == source}
        return [self._seen[source, order] * 1000 - due[order] for order in sorted(due, key=due.__getitem__)]

    def _poll(self) -> None:
        with psycopg.connect(_database_url(self._config), autocommit=True) as connection:
            known = set(connection.execute(_NEWEST))
            while not self._ended.wait(POLL_SECONDS):
                new = set(connection.execute(_NEWEST)) - known
                now = time.time()
                for row in new - self._seen.keys():
                    self._seen[row] = now
