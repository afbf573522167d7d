"""What an event costs, by batch: processor time and disk, from which the size of a machine follows."""

import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from helios.adapters.postgres.connection import Pool, open_pool
from helios.adapters.postgres.stream import PostgresOutbox
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.adapters.redis.dedupe import RedisDedupeCache
from helios.reconciliation import declaration
from helios.services.hints import Assumptions
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from scripts.bench.orders import distinct
from scripts.bench.reference import bare_insert
from scripts.bench.report import Table
from scripts.bench.servers import Servers

EVENTS = {1: 600, 10: 2_000, 100: 6_000, 500: 15_000}
"""How many events are stored, by batch."""
QUICK = 5

SIZE = "SELECT pg_database_size(current_database()), pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
"""The size of the database, and how much was written to the write-ahead log, in bytes."""


def measure(running: Servers, *, quick: bool) -> list[Table]:
    """Processor time per event: of Python, of Postgres, and of giving the frames their positions; and bytes."""
    rows = []
    with (
        open_pool(running.database_url, connections=1, timeout_seconds=60) as pool,
        psycopg.connect(running.database_url, autocommit=True) as bare,
    ):
        for batch, events in EVENTS.items():
            running.empty()
            rows.append(_row(running, pool, bare, batch, events // QUICK if quick else events))
    running.empty()
    return [
        Table(
            title="Cost of an event of a new order with flows: µs of processor time, and KB",
            columns=("batch", "Python", "Postgres", "position", "all", "bare insert", "stored KB", "log KB"),
            rows=rows,
            goal="position: of frames, with the sums. Other load lengthens these times, as caches are shared.",
        )
    ]


def _row(running: Servers, pool: Pool, bare: psycopg.Connection, batch: int, events: int) -> list[int | float | str]:
    dedupe = RedisDedupeCache(running.redis_url, ttl_seconds=600)
    store, reconciler, assumptions = PostgresStore(pool), Reconciler(declaration.load()), Assumptions()
    with pool.connection() as connection:
        backend = connection.info.backend_pid

    def store_all() -> None:
        for _ in range(events // batch):
            ingest(distinct(batch), dedupe=dedupe, store=store, reconciler=reconciler, assumptions=assumptions)

    def make_all() -> None:
        for _ in range(events // batch):
            distinct(batch)

    def insert_all() -> None:
        for _ in range(events // batch):
            bare_insert(bare, distinct(batch))

    store_all()  # prepares the statements, and fills the caches of the backend
    stored, log = _sizes(bare)
    python, postgres = _cpu(store_all, backend)
    stored_after, log_after = _sizes(bare)
    python -= _cpu(make_all, backend)[0]  # a sender makes the events
    _, folding = _cpu(PostgresOutbox(pool).number, backend)
    _, inserting = _cpu(insert_all, bare.info.backend_pid)
    dedupe.close()
    # Twice as many frames get positions as were measured.
    times = (python, postgres, folding / 2, python + postgres + folding / 2, inserting)
    sizes = ((stored_after - stored) / 1000, (log_after - log) / 1000)
    return [batch, *(value / events for value in (*times, *sizes))]


def _sizes(connection: psycopg.Connection) -> tuple[int, int]:
    ((stored, log),) = connection.execute(SIZE).fetchall()
    return stored, log


def _cpu(run: Callable[[], None], backend: int) -> tuple[float, float]:
    """Microseconds of processor time of this thread, and of a process of Postgres."""
    before, started = _used(backend), time.thread_time()
    run()
    return 1e6 * (time.thread_time() - started), _used(backend) - before


def _used(pid: int) -> float:
    """Microseconds that a process has run (Linux kernel documentation, "/proc/<pid>/schedstat")."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1000
