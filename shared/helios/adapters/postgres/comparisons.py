"""Comparisons of partitions with the archive: each is recorded, and holds until the partition or its files change."""

from typing import Final, LiteralString

import psycopg
from psycopg import sql

from helios.adapters.postgres.archive import READABLE, compare_with_archive
from helios.adapters.postgres.connection import lift_timeout
from helios.errors import Rejected

MAX_WAIT: Final = "100ms"
"""How long a statement waits for a lock: those that store late events in the partition wait behind it for as long."""

_IS_WATCHED: Final = """
SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass(%s) AND tgname = 'note_change')
"""

# ALWAYS: also for what a subscription of logical replication writes.
_WATCH: Final[tuple[LiteralString, ...]] = (
    """
    CREATE OR REPLACE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON {}
    FOR EACH ROW EXECUTE FUNCTION note_partition_change()
    """,
    "ALTER TABLE {} ENABLE ALWAYS TRIGGER note_change",
)

_CHANGES: Final[LiteralString] = """
(SELECT count(*) FROM partition_changes WHERE relation = to_regclass(%(name)s))
"""

# The path of a file begins its SHA-256, and a file is never changed.
_MANIFEST: Final[LiteralString] = f"""
(SELECT md5(coalesce(string_agg(path || ' ' || sha256, ' ' ORDER BY path), ''))
 FROM archive_files WHERE day = ANY({{days}}) AND NOT from_log AND {READABLE})
"""  # noqa: S608 - only a constant is filled in

_RECORD: Final = f"""
INSERT INTO partition_comparisons AS compared (name, relation, days, manifest, changes)
SELECT %(name)s, to_regclass(%(name)s), %(days)s::date[], {_MANIFEST.format(days="%(days)s::date[]")}, {_CHANGES}
ON CONFLICT (name) DO UPDATE
SET relation = excluded.relation, days = excluded.days, manifest = excluded.manifest, changes = excluded.changes,
    compared_at = now()
"""

_HOLDS: Final = f"""
SELECT to_regclass(%(name)s) IS NULL OR EXISTS (
    SELECT FROM partition_comparisons AS compared
    WHERE name = %(name)s AND relation = to_regclass(%(name)s)
        AND changes = {_CHANGES} AND manifest = {_MANIFEST.format(days="compared.days")}
)
"""  # noqa: S608 - only constants are filled in

# The day's own midnight is before its second check, which is thus due again. At most once a day: a comparison that
# fails because Postgres lacks events, after a restore from a backup, would fail each time.
_ARCHIVE_AGAIN: Final = """
UPDATE archive_days SET archived_at = day::timestamp AT TIME ZONE 'UTC'
WHERE day = ANY(%s) AND archived_at < now() - interval '1 day'
"""

_FORGET: Final[tuple[LiteralString, ...]] = (
    "DELETE FROM partition_changes WHERE relation = to_regclass(%s)",
    "DELETE FROM partition_comparisons WHERE name = %s",
)


def compare(connection: psycopg.Connection, name: str) -> None:
    """Compare the events of a partition with the archive, and record that the archive has them all.

    The partition gets a trigger first, which adds a row for each transaction that changes it. Its lock waits until the
    transactions that changed it without the trigger have ended. What a later one changes is either in the snapshot of
    the comparison, with its row, or it adds a row that the comparison has not counted.

    If the archive lacks events, the next run of the archive compares these days again, and adds the events.

    Raises:
        Rejected: the archive lacks some of the events, or a writer occupies the partition.
    """
    _watch(connection, name)
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        lift_timeout(connection)  # the comparison reads the whole partition
        comparison = compare_with_archive(connection, name)
        if not comparison.reasons:
            connection.execute(_RECORD, {"name": name, "days": comparison.days})
            return
    connection.execute(_ARCHIVE_AGAIN, [comparison.days])
    raise Rejected(
        f"the archive and Postgres differ: {'; '.join(comparison.reasons)}. The next run adds what the archive lacks.",
        field=name,
    )


def holds(connection: psycopg.Connection, name: str) -> bool:
    """Whether neither the partition nor its files have changed since they agreed; true if there is no such table."""
    row = connection.execute(_HOLDS, {"name": name}).fetchone()
    return row is not None and bool(row[0])


def forget(connection: psycopg.Connection, name: str) -> None:
    """Remove what was recorded about a partition that is about to be dropped."""
    for statement in _FORGET:
        connection.execute(statement, [name])


def limit_waits(connection: psycopg.Connection) -> None:
    """Let the statements of this transaction wait only briefly for a lock."""
    connection.execute("SELECT set_config('lock_timeout', %s, true)", [MAX_WAIT])


def _watch(connection: psycopg.Connection, name: str) -> None:
    """Add the trigger to a partition that does not have it."""
    if connection.execute(_IS_WATCHED, [name]).fetchone() == (True,):
        return
    try:
        with connection.transaction():
            limit_waits(connection)
            for statement in _WATCH:
                connection.execute(sql.SQL(statement).format(sql.Identifier(name)))
    except psycopg.errors.LockNotAvailable as error:
        raise Rejected("is being changed or vacuumed: the next run compares it", field=name) from error
