"""What the machine itself can do, measured beside each table: without it, no rate means anything elsewhere."""

import os
import time
from collections.abc import Callable, Sequence

import msgspec
import psycopg

from helios.adapters.postgres.events import INSERT_EVENTS
from helios.model.events import Delivery
from helios.normalise import normalise
from scripts.bench.orders import distinct
from scripts.bench.report import median
from scripts.bench.servers import Servers

REPEATS = 200
PAGE = b"x" * 8192


def measure(running: Servers) -> dict[str, float]:
    """The bare insert of one event, the time of an fsync, and the round trip to Postgres: medians."""
    with psycopg.connect(running.database_url, autocommit=True) as connection:
        trips = [_seconds(lambda: connection.execute("SELECT 1")) for _ in range(REPEATS)]
        inserts = [bare_insert(connection, distinct(1)) for _ in range(REPEATS)]
    return {
        "bare insert/s": 1 / median(inserts),
        "fsync ms": 1000 * median(_fsyncs(running)),
        "round trip ms": 1000 * median(trips),
    }


def bare_insert(connection: psycopg.Connection, batch: Sequence[Delivery]) -> float:
    """Insert events by the statement of ingest, and nothing else; the seconds. A commit ends it.

    Args:
        connection: in autocommit.
        batch: the events, which are prepared before the time begins.
    """
    rows = msgspec.json.encode([normalise(delivery) for delivery in batch]).decode()
    return _seconds(lambda: connection.execute(INSERT_EVENTS, {"events": rows}))


def _fsyncs(running: Servers) -> list[float]:
    """The times of making a page durable, where the database is."""
    path = running.folder / "fsync"
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        return [_seconds(lambda: _write_through(file)) for _ in range(REPEATS)]
    finally:
        os.close(file)
        path.unlink()


def _write_through(file: int) -> None:
    os.pwrite(file, PAGE, 0)
    os.fdatasync(file)


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started
