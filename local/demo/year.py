"""``python -m local.demo.year``, also ``make demo-year``: a year of events, its archive, and a first query.

The events go through ingest with times of receipt in the past. Then Helios archives them, and drops every month but
the last from Postgres, after it has compared each with the archive.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec
import psycopg
from psycopg import sql

from helios import bootstrap
from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.archive import GRACE, not_archived
from helios.adapters.postgres.connection import open_pool
from helios.adapters.postgres.migrate import migrate
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.embedded.postgres import Postgres
from helios.model.events import Delivery
from helios.processes.ports import free_port
from helios.reconciliation import declaration
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from helios.settings import Settings

FOLDER: Final = Path("build/year")
DAYS: Final = 365
BATCH: Final = 300
PRODUCERS: Final = {
    "gcp": "//pubsub.googleapis.com/projects/shop",
    "azure": "/subscriptions/shop/resourceGroups/shop",
}
QUERY: Final = (
    "SELECT date_trunc('month', day)::DATE AS month, count(*) AS events, sum(amount) AS amount, "
    "count(*) FILTER (archived) AS archived FROM events WHERE source = 'aws' GROUP BY month ORDER BY month"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the year, and serve its database until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="local.demo.year", description=__doc__)
    parser.add_argument("--orders", type=int, default=8, help="orders a day (%(default)s); each has three events")
    parser.add_argument("--exit", action="store_true", help="end after the query, instead of serving the database")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    archive_url = f"file://{(FOLDER / 'archive').absolute()}"
    server = Postgres(FOLDER / "postgres", free_port(), log=FOLDER / "postgres.log")
    server.discard()  # what a killed run has left
    with server:
        try:
            _make(Settings(database_url=server.url, archive_url=archive_url), options.orders)
            environment = {"HELIOS_DATABASE_URL": server.url, "HELIOS_ARCHIVE_URL": archive_url}
            helios = Path(sysconfig.get_path("scripts")) / "helios"
            _say(f'$ helios query "{QUERY}"')
            subprocess.run([helios, "query", QUERY], env=os.environ | environment, check=True)
            _say(f"The year was made, archived and queried in {time.monotonic() - started:.0f} s.")
            if not options.exit:
                _serve(environment)
        finally:
            server.discard()
    return 0


def _make(settings: Settings, orders: int) -> None:
    """Store a year of events, archive it, and drop the months that are over from Postgres."""
    migrate(settings.postgres_url)
    now = datetime.now(UTC)
    first = now.date() - timedelta(days=DAYS)
    months = _partition_by_month(settings.postgres_url, first)
    with open_pool(settings.postgres_url, connections=4, timeout_seconds=60) as pool:
        store, reconciler = PostgresStore(pool), Reconciler(declaration.load(None))
        deliveries, number = _deliveries(first, orders), 0
        while batch := list(islice(deliveries, BATCH)):
            ingest(batch, dedupe=NullDedupeCache(), store=store, reconciler=reconciler)
            number += len(batch)
        _say(f"{number:,} events of {DAYS} days are stored in Postgres.")
        archive = bootstrap.archive_on(settings, pool)
        try:
            result = archive.archive.run(now)
        finally:
            archive.close()
        _say(f"{result.rows:,} of them are archived in {result.files:,} files.")
    over = [table for table, until in months.items() if until + GRACE <= now]
    with psycopg.connect(settings.postgres_url) as connection:
        for table in over:
            if reasons := not_archived(connection, table):
                raise SystemExit(f"{table} is not archived: {reasons[0]}")
            connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(table)))
    _say(f"{len(over)} partitions were compared with the archive and dropped: Postgres has the last month.")


def _partition_by_month(database_url: str, first: date) -> dict[str, datetime]:
    """Replace the first partition, which is empty, by one for each month up to its end; the end of each by its name."""
    ends = {}
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "SELECT (regexp_match(pg_get_expr(relpartbound, oid), 'TO \\(''(.*?)''\\)'))[1]::timestamptz"
            " FROM pg_class WHERE relname = 'events_until'"
        ).fetchone()
        if row is None:
            raise AssertionError("a new database has the partition events_until")
        connection.execute("DROP TABLE events_until")
        since, end = datetime(first.year, first.month, 1, tzinfo=UTC), row[0]
        while since < end:
            until = min((since + timedelta(days=32)).replace(day=1), end)
            name = f"events_{since:%Y%m%d}"
            ends[name] = until
            connection.execute(
                sql.SQL("CREATE TABLE {} PARTITION OF events FOR VALUES FROM ({}) TO ({})").format(
                    sql.Identifier(name), sql.Literal(since), sql.Literal(until)
                )
            )
            since = until
    return ends


def _deliveries(first: date, orders: int) -> Iterator[Delivery]:
    """The events of a year: every order is placed on AWS, paid on Google Cloud and reserved on Azure."""
    begin = datetime(first.year, first.month, first.day, tzinfo=UTC)
    for day in range(DAYS):
        for number in range(orders):
            at = begin + timedelta(days=day, seconds=number * 86_000 // orders)
            yield from _order(f"{day:03}-{number:04}", at, customer=f"CUST-{(day * 7 + number) % 500}")


def _order(name: str, at: datetime, *, customer: str) -> Iterator[Delivery]:
    order = {"order_id": f"ORD-{name}", "customer_id": customer, "amount": 10 + len(customer), "currency": "EUR"}
    placed = {
        "version": "0",
        "id": f"aws-{name}",
        "detail-type": "OrderPlaced",
        "source": "shop.orders",
        "account": "123456789012",
        "time": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "region": "eu-central-1",
        "resources": [],
        "detail": order,
    }
    yield Delivery(channel="eventbridge", body=msgspec.json.encode(placed), received_at=at)
    for source, kind in (("gcp", "PaymentProcessed"), ("azure", "InventoryReserved")):
        at += timedelta(seconds=2)
        event = {
            "specversion": "1.0",
            "id": f"{source}-{name}",
            "source": PRODUCERS[source],
            "type": kind,
            "time": f"{at:%Y-%m-%dT%H:%M:%SZ}",
            "datacontenttype": "application/json",
            "data": order,
        }
        headers = {"content-type": "application/cloudevents+json"}
        yield Delivery(channel="cloudevents", body=msgspec.json.encode(event), headers=headers, received_at=at)


def _serve(environment: dict[str, str]) -> None:
    """Print what to try, and wait for Ctrl-C."""
    _say("The database runs until Ctrl-C. In another terminal:")
    for name, value in environment.items():
        _say(f"  export {name}={value}")
    _say('  .venv/bin/helios query "SELECT source, count(*), sum(amount) FROM events GROUP BY source"')
    _say("  .venv/bin/helios archive list")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        signal.pause()
    except KeyboardInterrupt:
        return


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
