"""The complete ingest of a batch, compared with a bare insert of the same rows into the same table."""

import time
import uuid
from collections.abc import Sequence
from itertools import chain

import psycopg

from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.connection import open_pool
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.adapters.redis.dedupe import DELAY_SECONDS, RedisDedupeCache
from helios.model.events import Delivery
from helios.ports.events import DedupeCache
from helios.reconciliation import declaration
from helios.services.hints import Assumptions
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from scripts.bench.orders import LEGS, distinct, of_leg
from scripts.bench.reference import bare_insert
from scripts.bench.report import Table, median
from scripts.bench.servers import Servers

BATCHES = (1, 10, 100, 500, 1000)
STORM_BATCH = 500
LEG_BATCH = 1
NAMES = ("first", "second", "third")


def measure(running: Servers, *, quick: bool) -> list[Table]:
    """Events per second of both, interleaved, by batch and by leg; and of a storm of duplicates."""
    pool = open_pool(running.database_url, connections=2, timeout_seconds=30)
    dedupe = RedisDedupeCache(running.redis_url, ttl_seconds=600, delay_seconds=DELAY_SECONDS)
    try:
        with psycopg.connect(running.database_url, autocommit=True) as connection:
            paths = _Paths(dedupe, PostgresStore(pool), connection)
            rows = [_row(paths, batch, quick=quick) for batch in BATCHES]
            legs = _legs(paths, quick=quick)
            storm = _storm(paths, quick=quick)
    finally:
        dedupe.close()
        pool.close()
    running.empty()
    return [
        Table(
            title="Ingest of new orders with flows, events/s on one connection",
            columns=("batch", "ingest", "bare insert", "ratio"),
            rows=rows,
            goal="goal: ratio of at least 0.6 at 1 and at 500",
        ),
        Table(
            title=f"Ingest of the legs of orders one after the other, batches of {LEG_BATCH}, events/s",
            columns=("leg", "ingest", "bare insert", "ratio"),
            rows=legs,
            goal="goal: ratio of at least 0.6 for the first, and of at least 0.45 for all three",
        ),
        Table(
            title=f"A storm of duplicates, batches of {STORM_BATCH}, events/s",
            columns=("events", "events/s", "ratio to new events"),
            rows=storm,
            goal="goal: at least half of the throughput of new events",
        ),
    ]


class _Paths:
    """The ways to store a batch; each method returns the seconds."""

    def __init__(self, dedupe: RedisDedupeCache, store: PostgresStore, connection: psycopg.Connection) -> None:
        self._dedupe = dedupe
        self._store = store
        self._connection = connection
        self._reconciler = Reconciler(declaration.load())
        self._assumptions = {True: Assumptions(), False: Assumptions()}

    def whole(self, batch: Sequence[Delivery]) -> float:
        """With Redis."""
        return self._ingest(batch, self._dedupe)

    def without_redis(self, batch: Sequence[Delivery]) -> float:
        """Without it."""
        return self._ingest(batch, NullDedupeCache())

    def bare(self, batch: Sequence[Delivery]) -> float:
        """The insert alone."""
        return bare_insert(self._connection, batch)

    def _ingest(self, batch: Sequence[Delivery], dedupe: DedupeCache) -> float:
        started = time.perf_counter()
        ingest(
            batch,
            dedupe=dedupe,
            store=self._store,
            reconciler=self._reconciler,
            assumptions=self._assumptions[dedupe is self._dedupe],
        )
        return time.perf_counter() - started


def _repeats(batch: int, *, quick: bool) -> int:
    return max(12 if quick else 30, min(300, (2_000 if quick else 12_000) // batch))


def _row(paths: _Paths, batch: int, *, quick: bool) -> tuple[int, float, float, float]:
    whole, bare = [], []
    for _ in range(_repeats(batch, quick=quick)):
        whole.append(paths.whole(distinct(batch)))
        bare.append(paths.bare(distinct(batch)))
    return batch, *_rates(batch, whole, bare)


def _legs(paths: _Paths, *, quick: bool) -> list[tuple[str, float, float, float]]:
    """Each leg of many orders, before the next leg of all of them."""
    orders = [uuid.uuid4().hex for _ in range(_repeats(LEG_BATCH, quick=quick))]
    whole: list[list[float]] = []
    bare: list[list[float]] = []
    for leg in range(len(LEGS)):
        times = [(paths.whole(of_leg(leg, [order])), paths.bare(of_leg(leg, [uuid.uuid4().hex]))) for order in orders]
        whole.append([both for both, _ in times])
        bare.append([alone for _, alone in times])
    rows = [(name, *_rates(LEG_BATCH, *both)) for name, *both in zip(NAMES, whole, bare, strict=True)]
    return [*rows, ("all three", *_rates(LEG_BATCH, [*chain(*whole)], [*chain(*bare)]))]


def _rates(batch: int, whole: list[float], bare: list[float]) -> tuple[float, float, float]:
    per_second, bare_per_second = batch / median(whole), batch / median(bare)
    return per_second, bare_per_second, per_second / bare_per_second


def _storm(paths: _Paths, *, quick: bool) -> list[tuple[str, float, float]]:
    new, known, unmarked = [], [], []
    for _ in range(5 if quick else 20):
        batch = distinct(STORM_BATCH)
        new.append(paths.whole(batch))
        known.append(paths.whole(batch))
        unmarked.append(paths.without_redis(batch))
    base = STORM_BATCH / median(new)
    return [
        (name, STORM_BATCH / median(times), STORM_BATCH / median(times) / base)
        for name, times in (
            ("new events", new),
            ("duplicates, marked in Redis", known),
            ("duplicates, without Redis", unmarked),
        )
    ]
