"""The complete ingest of a batch, compared with a bare insert of the same rows into the same table."""

import time
from collections.abc import Callable, Sequence

import msgspec
import psycopg

from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.connection import open_pool
from helios.adapters.postgres.events import INSERT_EVENTS
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.adapters.redis.dedupe import RedisDedupeCache
from helios.model.events import Delivery
from helios.normalise import normalise
from helios.services.ingest import ingest
from scripts.bench.payloads import deliveries
from scripts.bench.report import Table, median
from scripts.bench.servers import Servers

BATCHES = (1, 10, 100, 500, 1000)
STORM_BATCH = 500


def measure(running: Servers, *, quick: bool) -> list[Table]:
    """Events per second of both, interleaved, for each batch size; and of a storm of duplicates."""
    pool = open_pool(running.database_url, connections=2, timeout_seconds=30)
    dedupe = RedisDedupeCache(running.redis_url, ttl_seconds=600)
    store = PostgresStore(pool)
    try:
        with psycopg.connect(running.database_url) as connection:
            connection.execute("SELECT 1")
            paths = _Paths(dedupe, store, connection)
            rows = [_row(paths, batch, quick=quick) for batch in BATCHES]
            storm = _storm(paths, quick=quick)
    finally:
        dedupe.close()
        pool.close()
    running.empty()
    return [
        Table(
            title="Ingest, events/s on one connection",
            columns=("batch", "ingest", "bare insert", "ratio"),
            rows=rows,
            goal="goal: ratio of at least 0.5 at 500",
        ),
        Table(
            title=f"A storm of duplicates, batches of {STORM_BATCH}, events/s",
            columns=("events", "events/s", "ratio to new events"),
            rows=storm,
            goal="goal: at least half of the throughput of new events",
        ),
    ]


class _Paths:
    """The ways to store a batch."""

    def __init__(self, dedupe: RedisDedupeCache, store: PostgresStore, connection: psycopg.Connection) -> None:
        self.dedupe = dedupe
        self.store = store
        self._connection = connection

    def whole(self, batch: Sequence[Delivery]) -> None:
        ingest(batch, dedupe=self.dedupe, store=self.store)

    def without_redis(self, batch: Sequence[Delivery]) -> None:
        ingest(batch, dedupe=NullDedupeCache(), store=self.store)

    def bare(self, rows: str) -> None:
        self._connection.execute(INSERT_EVENTS, (rows,))
        self._connection.commit()


def _row(paths: _Paths, batch: int, *, quick: bool) -> tuple[int, float, float, float]:
    repeats = max(12 if quick else 30, min(300, (2_000 if quick else 12_000) // batch))
    whole, bare = [], []
    for _ in range(repeats):
        new = deliveries(batch)
        whole.append(_seconds(lambda new=new: paths.whole(new)))  # type: ignore[misc]  # a default binds it now
        rows = msgspec.json.encode([normalise(delivery) for delivery in deliveries(batch)]).decode()
        bare.append(_seconds(lambda rows=rows: paths.bare(rows)))  # type: ignore[misc]  # as above
    per_second, bare_per_second = batch / median(whole), batch / median(bare)
    return batch, per_second, bare_per_second, per_second / bare_per_second


def _storm(paths: _Paths, *, quick: bool) -> list[tuple[str, float, float]]:
    repeats = 5 if quick else 20
    new, known, unmarked = [], [], []
    for _ in range(repeats):
        batch = deliveries(STORM_BATCH)
        new.append(_seconds(lambda batch=batch: paths.whole(batch)))  # type: ignore[misc]  # a default binds it now
        known.append(_seconds(lambda batch=batch: paths.whole(batch)))  # type: ignore[misc]  # as above
        unmarked.append(_seconds(lambda batch=batch: paths.without_redis(batch)))  # type: ignore[misc]  # as above
    base = STORM_BATCH / median(new)
    figures = (
        ("new events", new),
        ("duplicates, marked in Redis", known),
        ("duplicates, without Redis", unmarked),
    )
    return [(name, STORM_BATCH / median(times), STORM_BATCH / median(times) / base) for name, times in figures]


def _seconds(run: Callable[[], None]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started
