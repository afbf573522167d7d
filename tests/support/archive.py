"""An archive of its own for a test: a database with a partition for each day, and events in it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from unittest.mock import patch

import psycopg
from psycopg import sql

from helios import bootstrap
from helios.adapters.archive.parquet import ParquetFormat
from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.archive import PostgresManifest
from helios.adapters.postgres.connection import Pool, open_pool
from helios.adapters.postgres.migrate import migrate
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.bootstrap import OpenArchive
from helios.model.archive import ArchiveFile, FileFilter
from helios.model.events import Delivery
from helios.services.archive import Archive
from helios.services.ingest import ingest
from helios.settings import Settings
from tests.support.envelopes import eventbridge_event, eventgrid_event

FIRST = date(2025, 11, 1)
"""The day of the first partition."""
DAYS = 10
"""The number of daily partitions."""
NOW = datetime(2025, 11, 20, 12, tzinfo=UTC)
"""A time at which all of these days are over."""


class ArchivedDatabase(NamedTuple):
    """A database of its own, and its archive."""

    url: str
    archive_url: str
    pool: Pool
    opened: OpenArchive

    def close(self) -> None:
        self.opened.close()
        self.pool.close()

    @property
    def archive(self) -> Archive:
        return self.opened.archive

    @property
    def settings(self) -> Settings:
        return Settings(database_url=self.url, archive_url=self.archive_url)

    def rows(self) -> list[tuple]:
        """All events in Postgres, as text, in order."""
        with self.pool.connection() as connection:
            return connection.execute(
                "SELECT hot_events.*::text FROM hot_events ORDER BY received_at, source, id, producer"
            ).fetchall()

    def drop(self, day: date) -> None:
        """Drop the partition of a day."""
        with self.pool.connection() as connection:
            connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(f"events_{day:%Y%m%d}")))

    def ingest(self, *deliveries: Delivery) -> None:
        """Store events."""
        ingest(deliveries, dedupe=NullDedupeCache(), store=PostgresStore(self.pool))


def prepare(url: str) -> None:
    """Migrate a database, and replace its first partition by one for each of the days."""
    migrate(url)
    with psycopg.connect(url) as connection:
        connection.execute("ALTER TABLE events DETACH PARTITION events_until")
        connection.execute("DROP TABLE events_until")
        for day in days(DAYS):
            connection.execute(
                sql.SQL("CREATE TABLE {} PARTITION OF events FOR VALUES FROM ({}) TO ({})").format(
                    sql.Identifier(f"events_{day:%Y%m%d}"),
                    sql.Literal(midnight(day)),
                    sql.Literal(midnight(day + timedelta(days=1))),
                )
            )


def open_database(url: str, archive_url: str) -> ArchivedDatabase:
    """A prepared database, and its archive."""
    pool = open_pool(url, connections=4, timeout_seconds=30)
    opened = bootstrap.archive_on(Settings(database_url=url, archive_url=archive_url), pool)
    return ArchivedDatabase(url, archive_url, pool, opened)


def fill(archived: ArchivedDatabase, *, number: int = 20, of_days: int = 3) -> None:
    """Store a number of orders, and as many shipments, on each of the first days."""
    for day in days(of_days):
        first = (day - FIRST).days * 1000
        archived.ingest(*(order(first + each, day=day) for each in range(number)))
        archived.ingest(*(shipment(first + each, day=day) for each in range(number)))


@contextmanager
def change_at_first_listing(change: Callable[[], object], *, before: bool) -> Iterator[None]:
    """Make a change when a read lists files for the first time: just before the list is made, or just after."""
    changes = [change]
    list_files = PostgresManifest.files

    def listing(manifest: PostgresManifest, where: FileFilter) -> list[ArchiveFile]:
        due = changes.pop() if changes else None
        if due and before:
            due()
        files = list_files(manifest, where)
        if due and not before:
            due()
        return files

    with patch.object(PostgresManifest, "files", listing):
        yield


@contextmanager
def lost_in_writing(id_: str) -> Iterator[None]:
    """Every file that is written lacks the event with this id."""
    write_query = ParquetFormat.write_query

    def lossy(files, query, *arguments, **options):
        return write_query(files, f"SELECT * FROM ({query}) WHERE id <> '{id_}'", *arguments, **options)

    with patch.object(ParquetFormat, "write_query", lossy):
        yield


def midnight(day: date) -> datetime:
    """The beginning of a UTC day."""
    return datetime.combine(day, time(), UTC)


def order(number: int, *, day: date = FIRST, customer: str | None = None, second: float = 3600.0) -> Delivery:
    """An order from AWS: its payload has characters that text formats treat in their own way."""
    detail = {
        "order_id": f"ORD-{number}",
        "customer_id": customer or f"CUST-{number % 7}",
        "amount": 10.5,
        "note": 'é "quoted", with a comma\nand a line\r\nend, \\ and \u2028 and 🜁',
    }
    event = eventbridge_event(
        f"aws-{number}", detail=detail, detail_type="OrderPlaced", resources=[f"arn:shop/~{number % 3}"]
    )
    body = json.dumps(event, ensure_ascii=False).replace("10.5", "10.50").encode()
    return Delivery(
        channel="eventbridge", body=body, received_at=midnight(day) + timedelta(seconds=second, microseconds=number)
    )


def shipment(number: int, *, day: date = FIRST) -> Delivery:
    """An event from Azure about the same order, without an amount."""
    data = {"order_id": f"ORD-{number}", "customer_id": f"CUST-{number % 7}"}
    event = eventgrid_event(f"azure-{number}", data=data)
    return Delivery(
        channel="eventgrid",
        body=json.dumps(event).encode(),
        received_at=midnight(day) + timedelta(hours=2, microseconds=number),
    )


def days(number: int) -> list[date]:
    """The first days."""
    return [FIRST + timedelta(days=each) for each in range(number)]
