"""Retention: every table that grows with the events, and how each is made smaller."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal, LiteralString, NamedTuple

import psycopg
from psycopg import sql

from helios.adapters.postgres import comparisons
from helios.adapters.postgres.archive import LEASE
from helios.adapters.postgres.connection import Pool, connect, translate_errors
from helios.adapters.postgres.leases import PostgresLeases
from helios.adapters.postgres.partitions import SELECT_PARTITIONS, attach
from helios.errors import Rejected
from helios.model.retention import Topic


class Rows(NamedTuple):
    """A table whose rows are removed one by one.

    Attributes:
        topic: the limit that applies.
        moment: the column with the age of a row.
        condition: which rows may be removed.
    """

    topic: Topic
    moment: LiteralString
    condition: LiteralString = "true"


class Sums(NamedTuple):
    """A table of sums by time, which become fewer.

    Attributes:
        moment: the column with the beginning of the minute, ten minutes, hour or day.
        keys: the other columns of the primary key.
        sums: the columns that are added up.
        condition: which rows are sums of a period.
    """

    moment: LiteralString
    keys: tuple[LiteralString, ...]
    sums: tuple[LiteralString, ...]
    condition: LiteralString = "true"


_OUTCOMES: Final = ("stored", "duplicate", "contradictory", "rejected")
_FLOW_KEYS: Final = ("flow", "what", "value")
_FLOW_SUMS: Final = ("instances", "amount", "seconds")

ROWS: Final[dict[LiteralString, Rows]] = {
    "event_ids": Rows("ids", "received_at", "digest <> 'erased'"),  # a resend of an erased event is always refused
    "parked": Rows("events", "parked_at"),
    "flow_instances": Rows("flows", "opened_at", "NOT waiting"),
    "dead_letters": Rows("dead_letters", "last_received_at"),
    "incidents": Rows("flows", "opened_at", "resolved_at IS NOT NULL"),
    "manifests": Rows("flows", "minute"),
    "balances": Rows("flows", "minute", "NOT open"),
    "notification_messages": Rows("flows", "created_at", "state <> 'waiting'"),
    "audit_log": Rows("audit", "at"),
    "replay_jobs": Rows("audit", "created_at", "finished_at IS NOT NULL"),
    "resolution_actions": Rows("audit", "at"),
    "log_counts": Rows("ids", "minute"),  # no delivery of an older minute is counted any more
}

SUMS: Final[dict[LiteralString, Sums]] = {
    "event_counts": Sums("minute", ("source", "type"), _OUTCOMES),
    "event_totals": Sums("since", ("source",), _OUTCOMES, "since > '-infinity'"),
    "flow_counts": Sums("minute", _FLOW_KEYS, _FLOW_SUMS),
    "flow_slots": Sums("slot", _FLOW_KEYS, _FLOW_SUMS),
}

OTHERWISE: Final = {
    "events": "by whole partitions: drop_partition",
    "frames": "by the sweep, after an hour to seven days",
    "archive_files": "a few rows a day: they are the index of the archive",
    "archive_days": "one row a day",
    "archive_index": "with its file",
    "partition_changes": "with the partition",
    "event_repeats": "by the sweep, when the minute of the events is older than a day",
    "event_arrivals": "by the sweep, when they were received more than a day ago",
    "resolutions": "with their flow instances: ON DELETE CASCADE",
    "resolution_steps": "the same",
    "recoveries": "the same",
    "incident_counts": "with its incident",
    "incident_deltas": "by the next turn of the incidents",
    "notifications": "with their incident",
    "notification_deliveries": "with their incident or message",
}
"""The other tables that grow, and what removes their rows."""

BOUNDED: Final = {
    "consumers",
    "detached_partitions",
    "flow_generation",
    "flow_recomputes",
    "flow_versions",
    "leases",
    "log_offsets",
    "log_progress",
    "log_rules",
    "archive_offsets",
    "archive_progress",
    "partition_comparisons",
    "recovery_prefix",
    "restored_partitions",
    "role_grants",
    "schema_migrations",
    "stream",
    "tokens",
}
"""The tables that do not grow with the events."""

# Those whose removal a crash has interrupted come first.
EXPIRED: Final = f"""
SELECT name FROM detached_partitions
UNION ALL
SELECT name FROM (
    SELECT name FROM ({SELECT_PARTITIONS}) AS partitions
    WHERE until <= %s AND name NOT IN (SELECT name FROM restored_partitions)
        AND name NOT IN (SELECT name FROM detached_partitions)
    ORDER BY until
) AS expired
"""  # noqa: S608 - only a constant is filled in

DETACHED: Final = "SELECT name FROM detached_partitions WHERE to_regclass(name) IS NOT NULL"

IS_ATTACHED: Final = """
SELECT inhdetachpending FROM pg_inherits WHERE inhparent = 'events'::regclass AND inhrelid = to_regclass(%s)
"""

ADD_DETACHED: Final = f"""
INSERT INTO detached_partitions (name, since, until)
SELECT name, since, until FROM ({SELECT_PARTITIONS}) AS partitions WHERE name = %s
ON CONFLICT (name) DO NOTHING
"""  # noqa: S608 - only a constant is filled in

CHANGED: Final = "it, or its files in the archive, changed after the comparison: the next run compares it again"


BUSY: Final = "another process changes the archive, or drops a partition: the next run drops it"


class PostgresRetention:
    """Implements ``RetentionStore``."""

    def __init__(self, pool: Pool, database_url: str) -> None:
        """Take the connections.

        Args:
            pool: for rows and sums, and the lease.
            database_url: for a connection of its own, on which a partition is dropped: that may take minutes, and can't
                be done in a transaction.
        """
        self._pool = pool
        self._leases = PostgresLeases(pool)
        self._database_url = database_url

    def remove(self, topic: Topic, *, before: datetime, limit: int) -> int:
        """Remove at most ``limit`` rows of each table of a topic, and return how many were removed."""
        with translate_errors(), self._pool.connection() as connection:
            return sum(
                connection.execute(_removal(table, rows), {"before": before, "limit": limit}).rowcount
                for table, rows in ROWS.items()
                if rows.topic == topic
            )

    def condense(self, unit: Literal["hour", "day"], *, before: datetime, limit: int) -> int:
        """Add at most ``limit`` sums of each table to the sum of their hour or day, and return how many were added."""
        count = 0
        with translate_errors(), self._pool.connection() as connection:
            for table, sums in SUMS.items():
                parameters = {"unit": unit, "before": before, "limit": limit}
                ((removed,),) = connection.execute(_condensation(table, sums), parameters).fetchall()
                count += removed
        return count

    def expired_partitions(self, before: datetime) -> Sequence[str]:
        """The names of the partitions whose events were all received before a time, the oldest first."""
        with translate_errors(), self._pool.connection() as connection:
            return [name for (name,) in connection.execute(EXPIRED, [before]).fetchall()]

    def compare_partition(self, name: str) -> None:
        """Record that the archive has all events of a partition; return at once if the last record still holds."""
        with translate_errors(), self._connect() as connection:
            if not comparisons.holds(connection, name):
                _attach(connection, name)  # without a record, an earlier version was killed after it had detached it
                comparisons.compare(connection, name)

    def drop_partition(self, name: str, *, archived: bool) -> None:
        """Drop a partition. An interrupted call is completed by the next one.

        Its comparison must hold before it is detached, and again afterwards, when no other process can store an event
        in it. Neither reads the events. It needs the lease of the archive: an erasure does not find the events of a
        partition that is detached meanwhile.
        """
        with self._leases.take(LEASE) as lease, translate_errors(), self._connect() as connection:
            if lease is None:
                raise Rejected(BUSY, field=name)
            if archived and not comparisons.holds(connection, name):
                raise Rejected(CHANGED, field=name)
            if (is_pending := _attached(connection, name)) is not None:
                with connection.transaction():
                    connection.execute(ADD_DETACHED, [name])
                    lease.fence(connection)
                _detach(connection, name, is_pending=is_pending)
            if archived and not comparisons.holds(connection, name):
                _attach(connection, name)
                raise Rejected(CHANGED, field=name)
            with connection.transaction():
                comparisons.forget(connection, name)
                connection.execute(_statement("DROP TABLE IF EXISTS {}", name))
                connection.execute("DELETE FROM detached_partitions WHERE name = %s", [name])
                lease.fence(connection)

    def _connect(self) -> psycopg.Connection:
        return connect(self._database_url, name="helios-retention", autocommit=True)


def attach_detached(connection: psycopg.Connection) -> None:
    """Make every table a partition again whose drop has begun; the next run drops it. The caller has the lease.

    It completes a detachment that was interrupted, and thus waits for the transactions that use ``events``.
    """
    for (name,) in connection.execute(DETACHED).fetchall():
        _attach(connection, name)


def _removal(table: LiteralString, rows: Rows) -> LiteralString:
    """SKIP LOCKED: two sweeps share the work instead of waiting for each other."""
    return (
        f"DELETE FROM {table} WHERE ctid = ANY(ARRAY("  # noqa: S608 - constants
        f"SELECT ctid FROM {table} WHERE {rows.moment} < %(before)s AND {rows.condition} "
        f"LIMIT %(limit)s FOR UPDATE SKIP LOCKED))"
    )


def _condensation(table: LiteralString, sums: Sums) -> LiteralString:
    """Moves sums to the beginning of their hour or day. Sums that are there already stay."""
    begin: LiteralString = f"date_trunc(%(unit)s, {sums.moment}, 'UTC')"
    keys: LiteralString = ", ".join(sums.keys)
    columns: LiteralString = ", ".join(sums.sums)
    totals: LiteralString = ", ".join([f"sum({column})" for column in sums.sums])
    added: LiteralString = ", ".join([f"{column} = existing.{column} + excluded.{column}" for column in sums.sums])
    return f"""
    WITH old AS (
        DELETE FROM {table} WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM {table}
            WHERE {sums.moment} < date_trunc(%(unit)s, %(before)s, 'UTC') AND {sums.moment} <> {begin}
                AND {sums.condition}
            LIMIT %(limit)s FOR UPDATE SKIP LOCKED
        ))
        RETURNING *
    ), moved AS (
        INSERT INTO {table} AS existing ({sums.moment}, {keys}, {columns})
        SELECT {begin}, {keys}, {totals} FROM old GROUP BY {begin}, {keys} ORDER BY {begin}, {keys}
        ON CONFLICT ({sums.moment}, {keys}) DO UPDATE SET {added}
    )
    SELECT count(*) FROM old
    """  # noqa: S608 - constants


def _statement(text: LiteralString, table: str) -> sql.Composed:
    return sql.SQL(text).format(sql.Identifier(table))


def _attached(connection: psycopg.Connection, name: str) -> bool | None:
    """Whether a detachment of the partition was interrupted; None if the table is no partition of ``events``."""
    row = connection.execute(IS_ATTACHED, [name]).fetchone()
    return row[0] if row else None


def _detach(connection: psycopg.Connection, name: str, *, is_pending: bool) -> None:
    """Make a partition a table of its own, or complete that.

    It waits for the transactions that use ``events``, and none waits for it (PostgreSQL documentation, "ALTER TABLE").
    """
    mode: LiteralString = "FINALIZE" if is_pending else "CONCURRENTLY"
    connection.execute(_statement("ALTER TABLE events DETACH PARTITION {} " + mode, name))


def _attach(connection: psycopg.Connection, name: str) -> None:
    """Make a table a partition again whose drop has begun; do nothing with any other."""
    if _attached(connection, name):
        _detach(connection, name, is_pending=True)
    with connection.transaction():
        row = connection.execute(
            "DELETE FROM detached_partitions WHERE name = %s RETURNING since, until", [name]
        ).fetchone()
        if row and _attached(connection, name) is None:
            comparisons.limit_waits(connection)
            attach(connection, name, *row)
