"""How fast an order of two years ago is found among archived events, and what a query over a month reads."""

import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg

from helios import bootstrap
from helios.adapters.archive import query
from helios.adapters.archive.objects import open_store
from helios.adapters.archive.parquet import DuckDb
from helios.adapters.postgres.connection import open_pool
from helios.bootstrap import ARCHIVE_THREADS, OpenArchive
from helios.model.archive import FileFilter
from helios.model.events import EventFilter
from helios.settings import Settings
from scripts.bench.report import Table, median, percentile
from scripts.bench.servers import Servers, another_database

DAYS = 730
EVENTS = 10_000_000
QUICK_DAYS, QUICK_EVENTS = 30, 300_000
LOOKUPS = 200
FIRST = date(2023, 1, 1)
SEED = 17

EVENTS_OF_ORDER = 3
MEGABYTE = 1e6

SUMS = """
SELECT day, count(*), sum(amount) FROM events
WHERE day >= DATE '2023-01-01' AND day < DATE '2023-02-01' GROUP BY day
"""

# An order has three events, within a few seconds, as the shop of the simulator sends them.
ROWS = """
SELECT 'aws' AS source, 'aws/shop.orders/123456789012/eu-central-1' AS producer, {day} || '-' || i AS id,
       ['OrderPlaced', 'PaymentProcessed', 'InventoryReserved'][1 + i % 3] AS type, NULL::VARCHAR AS subject,
       received_at - INTERVAL 1 SECOND AS time, received_at,
       '{{"order_id": "ORD-{day}-' || i // 3 || '", "customer_id": "CUST-' || (i * 7919) % 100000 || '", "amount": '
           || (i % 900) / 10 || ', "currency": "EUR", "items": ["' || md5(i::VARCHAR) || '"]}}' AS data,
       '{{}}' AS attributes, 'ORD-{day}-' || i // 3 AS order_id, 'CUST-' || (i * 7919) % 100000 AS customer_id,
       ((i % 900) / 10)::VARCHAR AS amount, left(md5(i::VARCHAR), 16) AS digest
FROM (
    SELECT i, TIMESTAMPTZ '{start}' + INTERVAL (i * 86000 / {number}) SECOND AS received_at FROM range({number}) AS t(i)
)
ORDER BY received_at
"""
"""The columns are those of the archive; the format writes whatever the query gives."""


def measure(running: Servers, *, quick: bool, events: int | None = None) -> list[Table]:
    """Fill an archive in a folder with events that Postgres does not have, and read from it."""
    days, default = (QUICK_DAYS, QUICK_EVENTS) if quick else (DAYS, EVENTS)
    events = events or default
    with _archive(running) as (settings, archive):
        _fill(archive, days, events // days)
        milliseconds, read = _lookups(archive, days, events // days // 3)
        files = archive.archive.manifest.files(FileFilter(only_archived=True))
        # Another DuckDB, because the first one has parts of the files in its cache.
        store = open_store(settings.archive_url or "")
        with closing(DuckDb(store, database_url=settings.postgres_url, threads=ARCHIVE_THREADS)) as unread:
            month = query.run(unread, SUMS, files, FileFilter())
    size = sum(file.bytes for file in files) / MEGABYTE
    return [
        Table(
            title=f"Archive of {events // days * days:,} events: {len(files):,} files, {size:,.0f} MB, in a folder",
            columns=("request", "median ms", "p95 ms", "MB read", "files read"),
            rows=[
                ("the events of an order", median(milliseconds), percentile(milliseconds, 95), read, 1),
                (
                    "a month's sums by day",
                    month.seconds * 1000,
                    month.seconds * 1000,
                    month.bytes_read / MEGABYTE,
                    month.files_read,
                ),
            ],
            goal="goal: an order in less than 1000 ms (p95)",
        )
    ]


@contextmanager
def _archive(running: Servers) -> Iterator[tuple[Settings, OpenArchive]]:
    """An empty archive of a database without partitions of the past."""
    with another_database(running) as empty, tempfile.TemporaryDirectory(prefix="helios-bench-") as folder:
        with psycopg.connect(empty.database_url) as connection:
            connection.execute("DROP TABLE events_until")
        settings = Settings(database_url=empty.database_url, archive_url=f"file://{folder}/archive")
        with open_pool(settings.postgres_url, connections=2, timeout_seconds=60) as pool:
            archive = bootstrap.archive_on(settings, pool)
            try:
                yield settings, archive
            finally:
                archive.close()


def _fill(archive: OpenArchive, days: int, number: int) -> None:
    """Write a file for each day, and list it."""
    with archive.archive.own_turn() as turn:
        for day in (FIRST + timedelta(days=each) for each in range(days)):
            with tempfile.TemporaryDirectory(prefix="helios-bench-") as folder:
                rows = ROWS.format(day=f"{day:%Y%m%d}", start=f"{day} 00:00:00+00", number=number)
                files = archive.files.write_query(rows, "aws", day, Path(folder))
                archive.archive.store(turn, files, now=datetime.now(UTC))


def _lookups(archive: OpenArchive, days: int, orders: int) -> tuple[list[float], float]:
    """Milliseconds to find each of some orders, and the megabytes that were read for one."""
    chance = random.Random(SEED)  # noqa: S311 - the orders are no secret
    times, before = [], archive.reading.files.bytes_read
    for _ in range(LOOKUPS):
        day = FIRST + timedelta(days=chance.randrange(days))
        order = f"ORD-{day:%Y%m%d}-{chance.randrange(orders)}"
        started = time.perf_counter()
        page = archive.reader.events(EventFilter(order_id=order), after=None, limit=50)
        times.append(1000 * (time.perf_counter() - started))
        if len(page.items) != EVENTS_OF_ORDER:
            raise AssertionError(f"{order} has {len(page.items)} events")
    return times, (archive.reading.files.bytes_read - before) / MEGABYTE / LOOKUPS
