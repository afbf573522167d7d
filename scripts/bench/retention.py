"""Whether the database stops growing when old events are dropped, and what ingest notices of a drop.

Forty days pass, with the real ingest, sweep, archive and retention; the clock of the events and of each job is that of
the simulated day. Autovacuum can't follow that clock, so each day ends with a VACUUM.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

import psycopg

from helios import bootstrap
from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.connection import Pool, open_pool
from helios.adapters.postgres.partitions import partitions
from helios.adapters.postgres.retention import PostgresRetention
from helios.adapters.postgres.stream import PostgresOutbox
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.model import retention as limits
from helios.model.events import Delivery
from helios.reconciliation import declaration
from helios.services.archive import Archive
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from helios.services.retention import RetentionJob
from helios.services.sweep import sweep
from helios.settings import Settings
from scripts.bench.payloads import ORDER, SOURCES, TYPES
from scripts.bench.report import Table, median, percentile
from scripts.bench.servers import Servers, another_database

DAYS = 40
KEPT = 7
EVENTS = 1_000_000
QUICK_EVENTS = 100_000
RETENTION = f"events={KEPT} ids={KEPT} flows={KEPT} dead_letters={KEPT} audit={KEPT} counts={KEPT}"

ORDERS_AT_ONCE = 160
"""Orders in a batch; with three events each, that is about the 500 messages of a batch."""
SMALL_BATCH = 30
"""Orders in each batch whose latency is measured: the smaller the batch, the more a wait shows."""
BASELINE_BATCHES = 40
"""Batches of each day that are measured while no partition is dropped; at most a quarter of the day's events."""
SWEEPS = 12
"""Sweeps of a simulated day. A real one has 1440; one removes up to 100,000 rows of each kind."""
FAILING = 100
"""Every order of this number lacks its last event, so that a sweep closes it."""
LONG_AGO = timedelta(hours=1)
SHOWN = (1, 2, KEPT, KEPT + 1, 15, 22, 29, 36, DAYS)
MEGABYTE = 1e6

EMPTY = "events_until"
"""The partition of what is older than the simulation."""

SUMMARY_COLUMNS = ("", "number", "median ms", "p99 ms", "max ms")
DROP_GOAL = "goal: a drop below 1000; p99 below twice that without a drop; no batch 100 slower than the median"

T = TypeVar("T")

SELECT_SIZES = """
SELECT pg_database_size(current_database()), pg_total_relation_size('archive_index'),
    (SELECT count(*) FROM hot_events)
"""


class Day(NamedTuple):
    """The database at the end of a day, and the drop of the oldest one.

    Attributes:
        events: the events in Postgres.
        size: the bytes of the database.
        index_size: the bytes of the index of the archive, which grows with the archive.
        drop: the time to drop the partition that has expired; None when there was none.
        archive_seconds: the time to archive the day.
        times: those of the measured batches.
    """

    number: int
    events: int
    size: int
    index_size: int
    drop: "Drop | None"
    archive_seconds: float
    times: "Times"


class Times(NamedTuple):
    """Milliseconds of the measured batches of a day.

    Attributes:
        quiet: those before any partition was compared or dropped.
        comparing: those while one was compared with the archive.
        dropping: those while one was detached and dropped.
    """

    quiet: list[float]
    comparing: list[float]
    dropping: list[float]


class Drop(NamedTuple):
    """How long it took to drop a partition, in milliseconds.

    Attributes:
        comparison: the time to compare it with the archive, and to record that they agree.
        milliseconds: the time to check that record, and to detach and drop the partition.
    """

    comparison: float
    milliseconds: float


def measure(running: Servers, *, quick: bool, events: int | None = None) -> list[Table]:
    """Let the days pass, and show some of them, and the latency of ingest with and without a drop."""
    size = events or (QUICK_EVENTS if quick else EVENTS)
    days: list[Day] = []
    with simulation(running, size // DAYS) as simulated:
        for number in range(DAYS):
            days.append(simulated.pass_day(number))
            _report(days[-1])
    full = [day.size for day in days[KEPT:]]
    without_index = [day.size - day.index_size for day in days[KEPT:]]
    drops = [day.drop for day in days if day.drop]
    return [
        Table(
            title=f"{simulated.stored:,} events in {DAYS} days, {KEPT} kept: the end of a day",
            columns=("day", "events in Postgres", "database MB", "index of the archive MB", "archive s", "drop ms"),
            rows=[_row(day) for day in days if day.number in SHOWN],
        ),
        Table(
            title=f"Size of the database from day {KEPT + 1} to {DAYS}, largest to smallest",
            columns=("", "ratio"),
            rows=[
                ("everything", max(full) / min(full)),
                ("without the index of the archive", max(without_index) / min(without_index)),
            ],
            goal="goal: at most 1.10",
        ),
        Table(
            title=f"Ingest of batches of {SMALL_BATCH * len(TYPES)}, ms, and the drop of {len(drops)} days",
            columns=SUMMARY_COLUMNS,
            rows=summaries([day.times for day in days], drops),
            goal=DROP_GOAL,
        ),
    ]


def _report(day: Day) -> None:
    """Print a line on standard error: with many events, the days take hours, and a run may be ended before the last."""
    print(
        f"day {day.number} of {DAYS}: {day.events:,} events in Postgres, {day.size / MEGABYTE:,.0f} MB, of which the "
        f"index of the archive {day.index_size / MEGABYTE:,.0f} MB; archived in {day.archive_seconds:.1f} s; "
        f"{_batches(day)}",
        file=sys.stderr,
        flush=True,
    )


def _batches(day: Day) -> str:
    """The drop of a day, and the batches before it and beside it."""
    before = f"batches before: {_words(day.times.quiet)}"
    if day.drop is None:
        return before
    return (
        f"compared in {day.drop.comparison:,.0f} ms, dropped in {day.drop.milliseconds:,.0f} ms; {before}; "
        f"beside the comparison: {_words(day.times.comparing)}; beside the drop: {_words(day.times.dropping)}"
    )


def _words(times: list[float]) -> str:
    number, middle, p99, longest = summary(times)
    return f"{number} with median {middle:.1f}, p99 {p99:.1f}, max {longest:.1f} ms"


def _row(day: Day) -> tuple[int, int, float, float, float, float | str]:
    dropped = day.drop.milliseconds if day.drop else ""
    return day.number, day.events, day.size / MEGABYTE, day.index_size / MEGABYTE, day.archive_seconds, dropped


def summaries(times: list[Times], drops: list[Drop]) -> list[tuple[str, int, float, float, float]]:
    """The batches of some days, and their drops: the rows of a table with SUMMARY_COLUMNS."""
    return [
        ("a batch before", *summary([each for day in times for each in day.quiet])),
        ("a batch while a day is compared", *summary([each for day in times for each in day.comparing])),
        ("a batch while a day is dropped", *summary([each for day in times for each in day.dropping])),
        ("the comparison of a day with the archive", *summary([drop.comparison for drop in drops])),
        ("the drop of a day", *summary([drop.milliseconds for drop in drops])),
    ]


def summary(values: list[float]) -> tuple[int, float, float, float]:
    """The number of values, their median, 99th percentile and maximum."""
    return len(values), median(values), percentile(values, 99), max(values)


@contextmanager
def simulation(running: Servers, events_per_day: int) -> Iterator["Simulation"]:
    """A simulation on a database with a partition for each day."""
    with another_database(running, partition_days=1) as empty, tempfile.TemporaryDirectory() as folder:
        settings = Settings(database_url=empty.database_url, archive_url=f"file://{folder}/archive")
        with open_pool(settings.postgres_url, connections=4, timeout_seconds=60) as pool:
            opened = bootstrap.archive_on(settings, pool)
            try:
                yield Simulation(settings.postgres_url, pool, opened.archive, events_per_day)
            finally:
                opened.close()


class Simulation:
    """The jobs of Helios on a clock of their own.

    Attributes:
        stored: the number of events that were stored.
        database_url: the database of its own, without retention.
        archive: its archive, in a folder.
        begin: the time at which the first day begins.
        baseline: the number of batches that are measured while no partition is dropped.
    """

    def __init__(self, database_url: str, pool: Pool, archive: Archive, events_per_day: int) -> None:
        self.stored = 0
        self.database_url = database_url
        self.archive = archive
        self._orders_per_day = events_per_day // len(TYPES)
        self.baseline = min(BASELINE_BATCHES, 1 + self._orders_per_day // SMALL_BATCH // 4)
        self._store = PostgresStore(pool, partition_days=1)
        self._outbox = PostgresOutbox(pool)
        self._reconciler = Reconciler(declaration.load())
        self._retention = limits.parse(RETENTION)
        self._expiring = PostgresRetention(pool, database_url)
        self._job = RetentionJob(self._retention, self._expiring)
        self._orders = 0
        with psycopg.connect(database_url) as connection:
            # What is older than the simulation has a partition without a beginning, which is empty.
            self.begin = next(each.since for each in partitions(connection) if each.since)

    def pass_day(self, number: int) -> Day:
        """Store the events of a day, then archive it, drop what has expired, and measure."""
        begin = self.begin + timedelta(days=number)
        end = begin + timedelta(days=1)
        for part in range(SWEEPS):
            since = begin + part * timedelta(days=1) / SWEEPS
            self._store_orders(since, until=self._orders_per_day * (number * SWEEPS + part + 1) // SWEEPS)
            self.sweep(since + timedelta(days=1) / SWEEPS)
        times = Times([], [], [])
        self.batches(times.quiet, end, lambda batches: batches < self.baseline)
        archiving, _ = milliseconds(lambda: self.archive.run(end + LONG_AGO))
        drop = self._drop(end, times)
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute("VACUUM")
            size, index, events = connection.execute(SELECT_SIZES).fetchall()[0]
        return Day(number + 1, events, size, index, drop, archiving / 1000, times)

    def sweep(self, now: datetime) -> None:
        """Close what is overdue, remove rows that have expired, and add the partitions of the next days."""
        sweep(now, store=self._store, reconciler=self._reconciler, outbox=self._outbox, retention=self._job)

    def _store_orders(self, at: datetime, *, until: int) -> None:
        """Store orders up to this number. Those of the measured batches are among them, so that all days are equal."""
        while self._orders < until:
            self._ingest(at, min(ORDERS_AT_ONCE, until - self._orders))

    def _drop(self, now: datetime, times: Times) -> Drop | None:
        """Drop the partition that has expired, while batches are stored."""
        expired = self._expiring.expired_partitions(now - timedelta(days=KEPT))
        name = next((name for name in expired if name != EMPTY), None)
        return self.drop(name, now, times) if name else None

    def drop(self, name: str, now: datetime, times: Times) -> Drop:
        """Compare a partition with the archive, and drop it, while batches are stored."""
        return Drop(
            self._beside(times.comparing, now, lambda: self._expiring.compare_partition(name)),
            self._beside(times.dropping, now, lambda: self._expiring.drop_partition(name, archived=True)),
        )

    def _beside(self, times: list[float], at: datetime, run: Callable[[], None]) -> float:
        """Store batches while something runs, and return how many milliseconds that takes."""
        finished = False
        with ThreadPoolExecutor(1) as thread:
            concurrent = thread.submit(self.batches, times, at, lambda batches: not (batches and finished))
            try:
                elapsed, _ = milliseconds(run)
            finally:
                finished = True
            concurrent.result()
        return elapsed

    def batches(self, times: list[float], at: datetime, more: Callable[[int], bool]) -> None:
        """Store small batches, and note the milliseconds of each."""
        batches = 0
        while more(batches):
            times.append(1000 * self._ingest(at, SMALL_BATCH))
            batches += 1

    def _ingest(self, at: datetime, orders: int) -> float:
        """Store the events of some orders; the seconds that it took."""
        deliveries = [
            _delivery(leg, at, order)
            for order in range(self._orders, self._orders + orders)
            for leg in range(len(TYPES))
            if leg < len(TYPES) - 1 or order % FAILING
        ]
        self._orders += orders
        started = time.perf_counter()
        outcomes = ingest(
            deliveries,
            dedupe=NullDedupeCache(),
            store=self._store,
            reconciler=self._reconciler,
            horizon=self._retention.ids,
        )
        seconds = time.perf_counter() - started
        if any(outcome.status != "stored" for outcome in outcomes):
            raise AssertionError("an event was not stored")
        self.stored += len(deliveries)
        return seconds


def milliseconds(run: Callable[[], T]) -> tuple[float, T]:
    """How many milliseconds a call takes, and what it returns."""
    started = time.perf_counter()
    result = run()
    return 1000 * (time.perf_counter() - started), result


def _delivery(leg: int, at: datetime, order: int) -> Delivery:
    """One event of an order, which the cloud of this leg has sent a second before its receipt."""
    event = {
        "specversion": "1.0",
        "id": f"{order}-{leg}",
        "source": SOURCES[leg],
        "type": TYPES[leg],
        "time": (at - timedelta(seconds=1)).isoformat(),
        "data": ORDER | {"order_id": f"ORD-{order}"},
    }
    return Delivery(channel="cloudevents", body=json.dumps(event).encode(), received_at=at)
