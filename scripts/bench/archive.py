"""How fast the page of an order of two years ago is, and what a query over a month reads of the archive.

DuckDB writes the files from numbers, in the layout and with the codec of the archive. The manifest and the index list
them. The events were never in Postgres, and the files are not read back. A payload has some 140 bytes.
"""

import http.client
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import psycopg

from helios import bootstrap
from helios.adapters.postgres.connection import open_pool
from helios.bootstrap import OpenArchive
from helios.model.archive import FileFilter, LocalFile
from helios.processes.ports import HOST
from helios.processes.process import scrubbed_environment
from helios.settings import Settings
from local.stack.config import REPOSITORY
from scripts.bench.payloads import TYPES
from scripts.bench.report import Table, median, percentile
from scripts.bench.servers import Servers, another_database, api

DAYS = 730
EVENTS = 10_000_000
QUICK_DAYS, QUICK_EVENTS = 30, 300_000
LOOKUPS, QUICK_LOOKUPS = 200, 20
FIRST = date(2023, 1, 1)
SEED = 17

CLOUDS = ("aws", "gcp", "azure")
"""The source of each type."""
WRITERS = 4
"""How many files are written at once."""
PROGRESS = 100
"""After how many files a line is printed."""
PATIENCE_SECONDS = 60
MEGABYTE = 1e6

SUMS = """
SELECT day, count(*), sum(amount) FROM events
WHERE day >= DATE '2023-01-01' AND day < DATE '2023-02-01' GROUP BY day
"""

ROWS = """
SELECT '{source}' AS source, '{source}/shop/123456789012/eu-central-1' AS producer, '{day}-' || i AS id,
       '{type}' AS type, NULL::VARCHAR AS subject, received_at - INTERVAL 1 SECOND AS time, received_at,
       '{{"order_id": "ORD-{day}-' || i || '", "customer_id": "CUST-' || (i * 7919) % 100000 || '", "amount": '
           || (i % 900) / 10 || ', "currency": "EUR", "items": ["' || md5(i::VARCHAR) || '"]}}' AS data,
       '{{}}' AS attributes, 'ORD-{day}-' || i AS order_id, 'CUST-' || (i * 7919) % 100000 AS customer_id,
       ((i % 900) / 10)::VARCHAR AS amount, left(md5(i::VARCHAR), 16) AS digest
FROM (
    SELECT i, TIMESTAMPTZ '{start}' + INTERVAL (i * 86000 / {orders}) SECOND AS received_at FROM range({orders}) AS t(i)
)
"""
"""One event of each order of a day, in the order of receipt, in which one thread writes them. The columns are those of
the archive, since the format writes what the query gives."""

PAYLOAD_BYTES = 140
"""The size of their payloads."""


class Pages(NamedTuple):
    """The pages of some orders.

    Attributes:
        milliseconds: the time of each request.
        files: the mean number of files that the index names for an order.
    """

    milliseconds: list[float]
    files: float


def measure(running: Servers, *, quick: bool, events: int | None = None) -> list[Table]:
    """Fill an archive in a folder with events that Postgres does not have, and read from it."""
    days, default = (QUICK_DAYS, QUICK_EVENTS) if quick else (DAYS, EVENTS)
    orders = (events or default) // days // len(TYPES)
    with _archive(running) as (database, settings, archive):
        _fill(archive, days, orders)
        files = archive.archive.manifest.files(FileFilter(only_archived=True))
        with psycopg.connect(settings.postgres_url) as connection:
            ((index,),) = connection.execute("SELECT pg_total_relation_size('archive_index')").fetchall()
        chosen = _orders(days, orders, QUICK_LOOKUPS if quick else LOOKUPS)
        pages = _pages(database, settings, archive, chosen)
        rows, query = _helios_query(settings)
    size = sum(file.bytes for file in files) / MEGABYTE
    return [
        Table(
            title=f"The page of an order, among {days * orders * len(TYPES):,} archived events of {days} days",
            columns=("", "value"),
            rows=[
                ("median ms", median(pages.milliseconds)),
                ("p95 ms", percentile(pages.milliseconds, 95)),
                ("max ms", max(pages.milliseconds)),
                ("files that the index names for an order", pages.files),
                ("files of the archive", len(files)),
                ("MB of the archive", size),
                ("MB of its index in Postgres", index / MEGABYTE),
            ],
            goal="goal: p95 less than 1000 ms",
        ),
        Table(
            title=f"helios query: the sums of a month by day ({rows} rows)",
            columns=("", "value"),
            rows=[
                ("s, with the start of the command", query.seconds),
                ("s of the query", query.query_seconds),
                ("MB read", query.megabytes),
                ("files read", query.files),
            ],
        ),
    ]


@contextmanager
def _archive(running: Servers) -> Iterator[tuple[Servers, Settings, OpenArchive]]:
    """An empty archive of a database without partitions of the past."""
    with another_database(running) as empty, tempfile.TemporaryDirectory(prefix="helios-bench-") as folder:
        with psycopg.connect(empty.database_url) as connection:
            connection.execute("DROP TABLE events_until")
        settings = Settings(database_url=empty.database_url, archive_url=f"file://{folder}/archive")
        with open_pool(settings.postgres_url, connections=2, timeout_seconds=60) as pool:
            archive = bootstrap.archive_on(settings, pool)
            try:
                yield empty, settings, archive
            finally:
                archive.close()


def _fill(archive: OpenArchive, days: int, orders: int) -> None:
    """Write and list the files of each day: each source has one event of each order."""
    started = time.monotonic()
    with (
        archive.archive.own_turn() as turn,
        tempfile.TemporaryDirectory(prefix="helios-bench-") as folder,
        ThreadPoolExecutor(WRITERS) as threads,
    ):

        def written(day: date, leg: int) -> list[LocalFile]:
            rows = ROWS.format(
                source=CLOUDS[leg], type=TYPES[leg], day=f"{day:%Y%m%d}", start=f"{day} 00:00:00+00", orders=orders
            )
            (place := Path(folder) / f"{day}-{leg}").mkdir()
            return archive.files.write_query(rows, CLOUDS[leg], day, place, row_bytes=PAYLOAD_BYTES)

        every = [(FIRST + timedelta(days=day), leg) for day in range(days) for leg in range(len(TYPES))]
        for done, files in enumerate(threads.map(written, *zip(*every, strict=True)), start=1):
            turn.begin([file.entry for file in files])
            for file in files:
                archive.archive.objects.put(file.entry.path, file.location)
                file.location.unlink()
            turn.complete(files, now=datetime.now(UTC))
            if done % PROGRESS == 0:
                seconds = time.monotonic() - started
                print(f"{done} of {len(every)} files written in {seconds:,.0f} s", file=sys.stderr, flush=True)


def _orders(days: int, orders: int, number: int) -> list[str]:
    """Some orders of random days."""
    chance = random.Random(SEED)  # noqa: S311 - the orders are no secret
    every = (FIRST + timedelta(days=chance.randrange(days)) for _ in range(number))
    return [f"ORD-{day:%Y%m%d}-{chance.randrange(orders)}" for day in every]


def _pages(database: Servers, settings: Settings, archive: OpenArchive, orders: list[str]) -> Pages:
    """Ask the API for the pages of orders, each of which follows again from its archived events."""
    times, files = [], 0
    with api(database, HELIOS_ARCHIVE_URL=settings.archive_url or "") as (port, _):
        for order in orders:
            files += len(archive.archive.manifest.files(FileFilter(field="order_id", value=order)))
            started = time.perf_counter()
            page = _get(port, f"/api/v1/flows/order/{order}")
            times.append(1000 * (time.perf_counter() - started))
            if len(page["events"]) != len(TYPES) or not page["rebuilt"]:
                raise AssertionError(f"{order} has {len(page['events'])} events")
    return Pages(times, files / len(orders))


def _get(port: int, path: str) -> dict[str, list[object]]:
    connection = http.client.HTTPConnection(HOST, port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise AssertionError(f"{path} was answered with {response.status}: {body[:200]!r}")
    content: dict[str, list[object]] = json.loads(body)
    return content


class Query(NamedTuple):
    """What a query cost: the seconds of the command, those of its query, and what it read."""

    seconds: float
    query_seconds: float
    megabytes: float
    files: int


def _helios_query(settings: Settings) -> tuple[int, Query]:
    """Run the command in a process of its own, which has nothing in its cache; the number of rows, and the cost."""
    environment = scrubbed_environment(
        HELIOS_DATABASE_URL=settings.postgres_url, HELIOS_ARCHIVE_URL=settings.archive_url or ""
    )
    started = time.perf_counter()
    ended = subprocess.run(
        [sys.executable, "-m", "helios", "query", SUMS],
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = time.perf_counter() - started
    cost = re.search(r"([\d,]+) rows in ([\d.]+) s; ([\d.,]+) MB read from ([\d,]+) of", ended.stderr)
    if cost is None:
        raise AssertionError(f"the command ended with: {ended.stderr}")
    rows, query_seconds, megabytes, files = (float(text.replace(",", "")) for text in cost.groups())
    return int(rows), Query(seconds, query_seconds, megabytes, int(files))
