"""Reads events from files of the archive, with DuckDB."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from threading import Timer
from typing import Any

import duckdb

from helios.adapters.archive.parquet import EVENT_COLUMNS, DuckDb, event_of, time_of, translate_errors
from helios.adapters.archive.tiered import Condition
from helios.adapters.postgres.events import PLACE
from helios.model.archive import ArchiveFile
from helios.model.events import Event


class ArchiveReader:
    """Implements ``ArchivedEvents``."""

    def __init__(self, database: DuckDb, *, seconds: float | None = None) -> None:
        """Take the database, and the longest time for one read; None: no limit."""
        self._database = database
        self._seconds = seconds

    def events(
        self, files: Sequence[ArchiveFile], conditions: Sequence[Condition], *, newest_first: bool, limit: int
    ) -> list[Event]:
        """At most ``limit`` events of some files, in order.

        Raises:
            Retryable: the archive can't be read.
        """
        direction = "DESC" if newest_first else "ASC"
        order = ", ".join(f"{column} {direction}" for column in PLACE.split(", "))
        rows = self._rows(EVENT_COLUMNS, files, conditions, f"ORDER BY {order} LIMIT {limit}")
        return [event_of(row) for row in rows]

    def count(
        self, files: Sequence[ArchiveFile], conditions: Sequence[Condition]
    ) -> tuple[int, datetime | None, datetime | None]:
        """The number of events, and the first and last time of receipt.

        Raises:
            Retryable: the archive can't be read.
        """
        ((number, first, last),) = self._rows(
            "count(*), epoch_us(min(received_at)), epoch_us(max(received_at))", files, conditions, ""
        )
        return number, None if first is None else time_of(first), None if last is None else time_of(last)

    def _rows(
        self, columns: str, files: Sequence[ArchiveFile], conditions: Sequence[Condition], end: str
    ) -> list[tuple[Any, ...]]:
        where = f"WHERE {' AND '.join(condition.sql for condition in conditions)}" if conditions else ""
        values = [value for condition in conditions for value in condition.values]
        query = f"SELECT {columns} FROM read_parquet(?, hive_partitioning = false) {where} {end}"  # noqa: S608 - parts of this module
        cursor = self._database.cursor()
        with translate_errors(), _ended_after(cursor, self._seconds):
            return cursor.execute(query, [self._database.urls(files), *values]).fetchall()


@contextmanager
def _ended_after(cursor: duckdb.DuckDBPyConnection, seconds: float | None) -> Iterator[None]:
    """Interrupt what runs on a connection after a time. A request to the object store is completed first."""
    if seconds is None:
        yield
        return
    timer = Timer(seconds, cursor.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
