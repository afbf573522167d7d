"""SQL over all events, in Postgres and in the archive, as one view. Read only."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import duckdb
from msgspec.structs import replace

from helios.adapters.archive.parquet import DuckDb, literal, translate_errors
from helios.adapters.archive.tiered import read_consistently
from helios.errors import Rejected
from helios.model.archive import ArchiveFile, FileFilter
from helios.ports.archive import Manifest

AMOUNT = "DECIMAL(38, 10)"
"""The type of ``amount``, so that sums are exact; a file has it as text."""

_EVENTS = f"""
SELECT source, (received_at AT TIME ZONE 'UTC')::DATE AS day, producer, id, type, subject, time, received_at, data,
       attributes, order_id, customer_id, amount::{AMOUNT} AS amount, digest, false AS archived
FROM hot.public.hot_events
"""  # noqa: S608 - only constants are filled in

# The folders in the path are columns, so that a condition on the day or the source skips whole files.
_ARCHIVED = f"""
SELECT source, day, producer, id, type, subject, time, received_at, data, attributes, order_id, customer_id,
       amount::{AMOUNT} AS amount, digest, true AS archived
FROM read_parquet({{files}}, hive_partitioning = true, hive_types = {{{{'source': VARCHAR, 'day': DATE}}}})
"""  # noqa: S608 - only constants are filled in


class Result(NamedTuple):
    """The answer to a query.

    Attributes:
        columns: the names of the columns.
        rows: the values.
        seconds: how long the query took.
        bytes_read: how much of the archive was read.
        files_read: the number of files that were opened.
        files: the number of files of the view.
    """

    columns: list[str]
    rows: list[tuple[Any, ...]]
    seconds: float
    bytes_read: int
    files_read: int
    files: int


def run(database: DuckDb, manifest: Manifest, sql: str, where: FileFilter) -> Result:
    """Answer one SELECT over the view ``events``. It begins again if a partition was dropped or restored meanwhile.

    Args:
        database: reads Postgres and the archive.
        manifest: lists the files.
        sql: the statement.
        where: which events the view has: those of a source, and of a period.

    Raises:
        Rejected: the statement is not one SELECT, or DuckDB can't answer it.
        Retryable: Postgres or the archive can't be read.
    """
    _require_select(sql)
    database.attach_postgres()
    return read_consistently(
        manifest, lambda: _answer(database, sql, manifest.files(replace(where, only_archived=True)), where)
    )


def _answer(database: DuckDb, sql: str, files: Sequence[ArchiveFile], where: FileFilter) -> Result:
    """The answer over these files, and over what Postgres has now: none of their events."""
    cursor = database.cursor()
    with translate_errors():
        cursor.execute(f"CREATE OR REPLACE TEMP VIEW events AS {_view(database, files, where)}")
    before, started = database.files.bytes_read, time.perf_counter()
    database.files.opened.clear()
    try:
        cursor.execute(sql)
        rows = cursor.fetchall()
    except (duckdb.ProgrammingError, duckdb.DataError, duckdb.NotSupportedError) as error:
        raise Rejected(str(error), field="SQL") from error
    except duckdb.Error as error:
        with translate_errors():
            raise error from None
    return Result(
        columns=[name for name, *_ in cursor.description or []],
        rows=rows,
        seconds=time.perf_counter() - started,
        bytes_read=database.files.bytes_read - before,
        files_read=len(database.files.opened),
        files=len(files),
    )


def _require_select(sql: str) -> None:
    """Return if the text is one statement that only reads.

    Raises:
        Rejected: it is not.
    """
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise Rejected(str(error), field="SQL") from error
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise Rejected("must be one SELECT: the command only reads", field="SQL")


def _view(database: DuckDb, files: Sequence[ArchiveFile], where: FileFilter) -> str:
    conditions = [
        f"{sql} {literal(value)}"
        for sql, value in (
            ("source =", where.source),
            ("received_at >= TIMESTAMPTZ", where.since.isoformat() if where.since else None),
            ("received_at < TIMESTAMPTZ", where.until.isoformat() if where.until else None),
        )
        if value
    ]
    hot = _EVENTS + (f"WHERE {' AND '.join(conditions)}" if conditions else "")
    return f"{hot} UNION ALL {_ARCHIVED.format(files=database.urls(files))}" if files else hot
