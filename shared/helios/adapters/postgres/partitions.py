"""The partitions of the table of events, by the time of receipt: made ahead of time, so that no event waits for one."""

from datetime import datetime, timedelta
from typing import NamedTuple

import psycopg
from psycopg import sql

from helios.adapters.postgres.connection import Pool, translate_errors

AHEAD = 3
"""The number of partitions that ``extend`` keeps beyond the current one."""

MIN_AHEAD = 2
"""With fewer, the sweep does not run: the database is not healthy."""

LOCK = 4_869_532_073
"""The advisory lock of the process that changes the partitions."""

# One whose detachment was interrupted is none any more: Postgres does not read it as a part of the table.
SELECT_PARTITIONS = """
SELECT partition.relname AS name, bound.since, bound.until
FROM pg_inherits JOIN pg_class AS partition ON partition.oid = inhrelid,
LATERAL pg_get_expr(partition.relpartbound, partition.oid) AS expression,
LATERAL (
    SELECT ((regexp_match(expression, 'FROM \\(''(.*?)''\\)'))[1])::timestamptz,
           ((regexp_match(expression, 'TO \\(''(.*?)''\\)'))[1])::timestamptz
) AS bound (since, until)
WHERE inhparent = 'events'::regclass AND NOT inhdetachpending
ORDER BY bound.until
"""

COUNT_AHEAD = f"SELECT count(*) FROM ({SELECT_PARTITIONS}) AS partitions WHERE since > now()"  # noqa: S608 - only a constant is filled in


class Partition(NamedTuple):
    """A partition: the events received at or after ``since`` (None: from the beginning) and before ``until``."""

    name: str
    since: datetime | None
    until: datetime


def partitions(connection: psycopg.Connection) -> list[Partition]:
    """The partitions, the oldest first."""
    return [Partition(*row) for row in connection.execute(SELECT_PARTITIONS).fetchall()]


def extend(pool: Pool, now: datetime, *, days: int) -> int:
    """Make the partitions of the present and of the near future, and return the number of new ones.

    Args:
        pool: the connections.
        now: the present.
        days: the width of a new partition. Those that exist keep theirs.

    Raises:
        Retryable: Postgres can't be reached.
    """
    with translate_errors(), pool.connection() as connection:
        return extend_on(connection, now, days=days)


def extend_on(connection: psycopg.Connection, now: datetime, *, days: int) -> int:
    """``extend`` on a connection."""
    added = 0
    with connection.transaction():
        if not _lock(connection):
            return 0  # another process makes them
        existing = partitions(connection)
        end = existing[-1].until
        ahead = sum(1 for partition in existing if partition.since and partition.since > now)
        while ahead < AHEAD:
            until = end + timedelta(days=days)
            _add(connection, end, until)
            ahead += end > now
            end = until
            added += 1
    return added


def lock_partitions(connection: psycopg.Connection) -> None:
    """Wait until no other process changes the partitions; none does until the end of the transaction."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))


def _lock(connection: psycopg.Connection) -> bool:
    (locked,) = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (LOCK,)).fetchone() or (False,)
    return bool(locked)


def _add(connection: psycopg.Connection, since: datetime, until: datetime) -> None:
    """Add an empty partition: a function of the table's owner does, since the caller's role may not change tables."""
    connection.execute("SELECT add_event_partition(%s, %s)", (since, until))


def attach(connection: psycopg.Connection, name: str, since: datetime | None, until: datetime) -> None:
    """Make a table the partition from ``since`` (None: from the beginning) to before ``until``."""
    begin = sql.SQL("MINVALUE") if since is None else sql.Literal(since)
    connection.execute(
        sql.SQL("ALTER TABLE events ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
            sql.Identifier(name), begin, sql.Literal(until)
        )
    )
