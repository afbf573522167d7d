"""The manifest of the archive: its SQL, and the comparison of the table of events with it."""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, LiteralString, NamedTuple

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from helios.adapters.postgres.connection import Pool, connect, lift_timeout, translate_errors
from helios.adapters.postgres.events import PostgresEventWriter
from helios.adapters.postgres.leases import PostgresLease, PostgresLeases
from helios.adapters.postgres.log import offset_parameters, read_offsets
from helios.adapters.postgres.partitions import SELECT_PARTITIONS, attach, lock_partitions, partitions
from helios.adapters.postgres.query import Conditions, Query, conjunction, with_values
from helios.errors import Rejected, Retryable
from helios.model.archive import ArchiveFile, Contents, FileFilter, LocalFile, contents
from helios.model.events import Key
from helios.model.sources import Source
from helios.ports.log import Partition, Progress

LEASE = "archive"
"""The lease of the process that changes the archive, or drops a partition."""

GRACE = timedelta(hours=1)
"""How long after its end a day is archived: a batch in progress may still store events of that day."""

RECHECK = timedelta(days=2)
"""How long after its end a day is compared a second time, for events that were stored later than that."""

_FILE_COLUMNS = """
path, source, day, rows, digest, bytes, first_received_at, last_received_at, sha256, from_log, verified_at
"""

READABLE: LiteralString = "verified_at IS NOT NULL AND superseded_at IS NULL"
"""The files that readers use: they were read back after they were written, and no other file has replaced them."""

# Text has its length in bytes before it, so that two events with the same text in other columns differ, and so do NULL
# and the empty text. The DuckDB adapter has the same expression.
_HASH: LiteralString = """
md5(concat(
    octet_length(source), ':', source, octet_length(producer), ':', producer, octet_length(id), ':', id,
    octet_length(type), ':', type, octet_length(subject), ':', subject,
    (extract(epoch FROM time) * 1000000)::bigint, ':', (extract(epoch FROM received_at) * 1000000)::bigint, ':',
    octet_length(data::text), ':', data::text, octet_length(attributes::text), ':', attributes::text,
    octet_length(order_id), ':', order_id, octet_length(customer_id), ':', customer_id,
    octet_length(amount::text), ':', amount::text, octet_length(digest), ':', digest
))
"""

_CONTENTS: LiteralString = f"""
SELECT source, (received_at AT TIME ZONE 'UTC')::date AS day, count(*),
       sum(('x' || left(hash, 16))::bit(64)::bigint), sum(('x' || right(hash, 16))::bit(64)::bigint)
FROM (SELECT source, received_at, {_HASH} AS hash FROM {{table}} {{where}}) AS hashed
GROUP BY 1, 2
"""  # noqa: S608 - only constants are filled in

_UNCOVERED: LiteralString = f"""
NOT EXISTS (
    SELECT FROM ({SELECT_PARTITIONS}) AS partitions
    WHERE coalesce(since, '-infinity') <= day::timestamp AT TIME ZONE 'UTC'
        AND until > day::timestamp AT TIME ZONE 'UTC'
)
"""

_IN_INDEX: LiteralString = """
path IN (
    SELECT path FROM archive_index
    WHERE field = %s AND (bits, bucket) IN ((0, 0), (4, %s), (8, %s), (12, %s)) AND position(%s IN hashes) > 0
)
"""

ADD_FILE = f"""
INSERT INTO archive_files ({_FILE_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, NULL)
ON CONFLICT (path) DO NOTHING
"""  # noqa: S608 - only a constant is filled in

VERIFY_FILE = "UPDATE archive_files SET verified_at = %s WHERE path = %s AND superseded_at IS NULL"
SUPERSEDE_FILES = "UPDATE archive_files SET superseded_at = %s WHERE path = ANY(%s)"
ADD_INDEX_ENTRY = """
INSERT INTO archive_index (field, bits, bucket, path, hashes) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (field, bits, bucket, path) DO UPDATE SET hashes = excluded.hashes
"""

# Only the projector adds rows: at the place from which on it stores no events.
ADVANCE = """
WITH input AS (
    SELECT * FROM unnest(%(topics)s::text[], %(partitions)s::integer[], %(froms)s::bigint[], %(tos)s::bigint[])
        AS input (topic, partition, since, until)
), written AS (
    UPDATE archive_offsets SET next_offset = until FROM input
    WHERE archive_offsets.topic = input.topic AND archive_offsets.partition = input.partition AND next_offset = since
    RETURNING 1
)
SELECT assert_written(count(*), %(expected)s) FROM written
"""

SELECT_OFFSETS = """
SELECT topic, partition, coalesce(archive_offsets.next_offset, log_offsets.next_offset)
FROM unnest(%s::text[], %s::integer[]) AS wanted (topic, partition)
LEFT JOIN archive_offsets USING (topic, partition) LEFT JOIN log_offsets USING (topic, partition)
WHERE archive_offsets.next_offset IS NOT NULL OR log_offsets.next_offset IS NOT NULL
"""

SELECT_MERGEABLE = f"""
WITH small AS (
    SELECT source, day FROM archive_files WHERE from_log AND bytes < %(bytes_below)s AND {READABLE}
    GROUP BY source, day HAVING count(*) >= CASE WHEN day < %(over_before)s THEN 2 ELSE %(number)s END
    ORDER BY day, source LIMIT 1
)
SELECT {_FILE_COLUMNS} FROM archive_files JOIN small USING (source, day)
WHERE from_log AND bytes < %(bytes_below)s AND {READABLE} ORDER BY path
"""  # noqa: S608 - only constants are filled in

# A partition that is detached and attached again has another row, with another xmin.
SELECT_ATTACHED = """
SELECT inhrelid::bigint, xmin::text FROM pg_inherits WHERE inhparent = 'events'::regclass AND NOT inhdetachpending
"""

SUCCEED = "UPDATE archive_progress SET succeeded_at = greatest(succeeded_at, %s)"

RESTORED_COLUMNS: LiteralString = (
    "source, producer, id, type, subject, time, received_at, data, attributes, order_id, customer_id, amount, digest"
)
"""The columns of ``hot_events``, in its order."""

# An operator who has dropped the partition may have left its row.
ADD_RESTORED = """
INSERT INTO restored_partitions (name) VALUES (%s) ON CONFLICT (name) DO UPDATE SET restored_at = excluded.restored_at
"""

ADD_IDS = """
INSERT INTO event_ids (key, digest, received_at)
SELECT event_key(source, producer, id), digest, received_at FROM {}
ON CONFLICT (key) DO NOTHING
"""


class Comparison(NamedTuple):
    """A table of events, compared with the archive.

    Attributes:
        days: the days of its events, in order.
        reasons: why it can't be dropped: one for each source and day that the archive does not have in full.
    """

    days: list[date]
    reasons: list[str]


def not_archived(connection: psycopg.Connection, table: str) -> list[str]:
    """The reasons of ``compare_with_archive``."""
    return compare_with_archive(connection, table).reasons


def compare_with_archive(connection: psycopg.Connection, table: str) -> Comparison:
    """Compare a partition with the archive.

    Without a reason, every event of the table is in files that were read back after they were written, and their rows
    and digests agree with the table as this transaction sees it. The caller that drops the table has to make sure that
    no event is stored in it after this comparison.

    Args:
        connection: an open connection; the comparison reads the whole table.
        table: the name of a partition of ``events``, attached or not.
    """
    hot = _contents_of(connection, table)
    archived: dict[tuple[Source, date], Contents] = {}
    days = sorted({day for _, day in hot})
    for source, day, rows, digest in connection.execute(
        f"SELECT source, day, rows, digest FROM archive_files WHERE day = ANY(%s) AND NOT from_log AND {READABLE}",  # noqa: S608 - the same
        (days,),
    ):
        archived[source, day] = archived.get((source, day), Contents()) + Contents(rows, digest)
    reasons = [
        f"{source} {day}: {table} has {stored.rows} events, the archive {archived.get((source, day), Contents()).rows}"
        + ("" if archived.get((source, day), Contents()).rows != stored.rows else ", but not the same")
        for (source, day), stored in sorted(hot.items(), key=lambda item: (item[0][1], item[0][0]))
        if archived.get((source, day)) != stored
    ]
    return Comparison(days, reasons)


class PostgresManifest(Query):
    """Implements ``Manifest`` on a pool of connections. ``turn`` uses a connection of its own."""

    def __init__(self, pool: Pool, database_url: str) -> None:
        super().__init__(pool)
        self._leases = PostgresLeases(pool)
        self._database_url = database_url

    def files(self, where: FileFilter) -> list[ArchiveFile]:
        """The readable files, by day, source and path."""
        filtered, values = conjunction([(READABLE, []), *_conditions(where)])
        query: LiteralString = f"SELECT {_FILE_COLUMNS} FROM archive_files {filtered} ORDER BY day, source, path"  # noqa: S608 - the same
        return [_file(row) for row in self._all(query, values)]

    def partitions(self) -> frozenset[tuple[int, str]]:
        """The partitions of Postgres, and which transaction has attached each."""
        return frozenset((relation, transaction) for relation, transaction in self._all(SELECT_ATTACHED, []))

    @contextmanager
    def turn(self, *, patience_seconds: float = 0) -> Iterator["PostgresArchiveTurn | None"]:
        """Begin to change the archive."""
        with self._leases.take(LEASE, patience_seconds=patience_seconds) as lease:
            if lease is None:
                yield None
                return
            with translate_errors():
                connection = connect(self._database_url, name="helios-archive", autocommit=True)
            with connection:
                yield PostgresArchiveTurn(connection, lease)


class PostgresArchiveTurn:
    """Implements ``ArchiveTurn`` on a connection of its own. No change commits after another process has the lease."""

    def __init__(self, connection: psycopg.Connection, lease: PostgresLease) -> None:
        self._connection = connection
        self._lease = lease

    def pending_days(self, now: datetime, *, recheck: bool = False) -> list[date]:
        """The days in Postgres that are over and are still to be compared with the archive, the oldest first."""
        with translate_errors():
            first, last = self._connection.execute(
                "SELECT min(received_at), max(received_at) FROM events"
            ).fetchone() or (
                None,
                None,
            )
            if first is None or last is None:
                return []
            archived_at: dict[date, datetime] = dict(
                self._connection.execute("SELECT day, archived_at FROM archive_days").fetchall()
            )
        # The session has the time zone of the role or of the database.
        first_day = first.astimezone(UTC).date()
        last_day = min(last, now - GRACE - timedelta(days=1)).astimezone(UTC).date()
        days = [first_day + timedelta(days=number) for number in range((last_day - first_day).days + 1)]
        return [day for day in days if recheck or _is_pending(day, archived_at.get(day), now)]

    def hot_contents(self, day: date) -> dict[Source, Contents]:
        """What Postgres has of one day, by source."""
        with translate_errors(), self._connection.transaction():
            lift_timeout(self._connection)  # the comparison reads all of the day
            found = _contents_of(self._connection, "events", day)
        return {source: stored for (source, _), stored in found.items()}

    def files(self, day: date, source: Source) -> list[ArchiveFile]:
        """The verified files of one day and source whose events come from Postgres."""
        query = (
            f"SELECT {_FILE_COLUMNS} FROM archive_files"  # noqa: S608 - the same
            f" WHERE day = %s AND source = %s AND NOT from_log AND {READABLE} ORDER BY path"
        )
        with translate_errors():
            return [_file(row) for row in self._connection.execute(query, (day, source)).fetchall()]

    def mergeable(self, *, bytes_below: int, over_before: date, number: int) -> list[ArchiveFile]:
        """The small files of the log of one source and day, if there are several; otherwise none."""
        values = {"bytes_below": bytes_below, "over_before": over_before, "number": number}
        with translate_errors():
            return [_file(row) for row in self._connection.execute(SELECT_MERGEABLE, values).fetchall()]

    def known(self, keys: Collection[Key]) -> set[Key]:
        """The identities among these that Postgres has stored, or that were erased."""
        with translate_errors():
            return set(PostgresEventWriter(self._connection).digests(keys))

    def begin(self, files: Sequence[ArchiveFile]) -> None:
        """List files that are about to be written."""
        with self._change() as connection:
            for file in files:
                connection.execute(ADD_FILE, _values(file))

    def complete(
        self,
        files: Sequence[LocalFile],
        *,
        replaced: Sequence[str] = (),
        read: Mapping[Partition, Progress] | None = None,
        now: datetime,
    ) -> None:
        """Make files readable, and those that they replace unreadable, in one transaction."""
        with self._change() as connection:
            if read:
                connection.execute(ADVANCE, offset_parameters(read))
            for file in files:
                connection.execute(VERIFY_FILE, (now, file.entry.path))
                entries = [
                    (entry.field, entry.bits, entry.bucket, file.entry.path, entry.hashes) for entry in file.index
                ]
                connection.cursor().executemany(ADD_INDEX_ENTRY, entries)
            connection.execute(SUPERSEDE_FILES, (now, list(replaced)))

    def finish_day(self, day: date, now: datetime) -> None:
        """Record that a day has been compared with the archive."""
        statement = """
            INSERT INTO archive_days (day, archived_at) VALUES (%s, %s)
            ON CONFLICT (day) DO UPDATE SET archived_at = excluded.archived_at
        """
        with self._change() as connection:
            connection.execute(statement, (day, now))
            connection.execute(SUCCEED, [now])

    def succeed(self, now: datetime) -> None:
        """Record that the archive has all that it can have now."""
        with self._change() as connection:
            connection.execute(SUCCEED, [now])

    def unreadable(self) -> list[str]:
        """The files that are listed, but not readable."""
        query = f"SELECT path FROM archive_files WHERE NOT ({READABLE}) ORDER BY path"  # noqa: S608 - the same
        with translate_errors():
            return [path for (path,) in self._connection.execute(query).fetchall()]

    def forget(self, paths: Sequence[str]) -> None:
        """Remove unreadable files from the manifest."""
        statement = f"DELETE FROM archive_files WHERE path = ANY(%s) AND NOT ({READABLE})"  # noqa: S608 - the same
        with self._change() as connection:
            connection.execute(statement, (list(paths),))

    def restore(self, since: date, until: date, rows: Iterable[Sequence[object]], expected: Contents) -> str:
        """Make a partition for the days from ``since`` to before ``until``, and fill it, in one transaction."""
        begin, end = _midnight(since), _midnight(until)
        name = f"events_restored_{since:%Y%m%d}_{until:%Y%m%d}"
        table = sql.Identifier(name)
        with self._change() as connection:
            lock_partitions(connection)
            for partition in partitions(connection):
                if partition.until > begin and (partition.since is None or partition.since < end):
                    raise Rejected(
                        f"overlaps the partition {partition.name}: its events are in Postgres", field="--since"
                    )
            connection.execute(
                sql.SQL("CREATE TABLE {} (LIKE events INCLUDING DEFAULTS INCLUDING INDEXES)").format(table)
            )
            copy_rows = sql.SQL("COPY {} ({}) FROM STDIN").format(table, sql.SQL(RESTORED_COLUMNS))
            with connection.cursor().copy(copy_rows) as copy:
                for row in rows:
                    copy.write_row(row)
            restored = sum(_contents_of(connection, name).values(), Contents())
            if restored != expected:
                raise Retryable(
                    f"The archive gave {restored.rows} events of {since} to {until}, and its manifest lists "
                    f"{expected.rows}. Nothing was restored. Run: helios archive verify"
                )
            connection.execute(sql.SQL(ADD_IDS).format(table))
            connection.execute(ADD_RESTORED, (name,))
            attach(connection, name, begin, end)
        return name

    @contextmanager
    def _change(self) -> Iterator[psycopg.Connection]:
        """A transaction that changes the archive."""
        with translate_errors(), self._connection.transaction():
            lift_timeout(self._connection)
            yield self._connection
            self._lease.fence(self._connection)


class PostgresArchiveOffsets:
    """Implements ``LogOffsets``: how far the archive has read the log, or else where the projector is."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def next_offsets(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """The first message of each partition that is in no file; partitions that were never read are left out."""
        return read_offsets(self._pool, SELECT_OFFSETS, partitions)


def _is_pending(day: date, archived_at: datetime | None, now: datetime) -> bool:
    recheck_at = _midnight(day) + timedelta(days=1) + RECHECK
    return archived_at is None or archived_at < recheck_at <= now


def _contents_of(
    connection: psycopg.Connection, table: str, day: date | None = None
) -> dict[tuple[Source, date], Contents]:
    """What a table has, or what it has of one day, by source and day."""
    where: LiteralString = "" if day is None else "WHERE received_at >= %s AND received_at < %s"
    values = [] if day is None else [_midnight(day), _midnight(day) + timedelta(days=1)]
    query = sql.SQL(_CONTENTS).format(table=sql.Identifier(table), where=sql.SQL(where))
    rows = connection.execute(query, values).fetchall()
    return {(source, on): contents(count, int(high), int(low)) for source, on, count, high, low in rows}


def _conditions(where: FileFilter) -> list[Conditions]:
    conditions = with_values(
        [
            ("source = %s", where.source),
            ("last_received_at >= %s", where.since),
            ("first_received_at < %s", where.until),
        ]
    )
    if where.field and where.value is not None:
        prefix, short = index_hash(where.value)
        buckets = [int(prefix[: bits // 4], 16) for bits in (4, 8, 12)]
        conditions.append((_IN_INDEX, [where.field, *buckets, short]))
    if where.only_archived:
        conditions.append((f"(from_log OR {_UNCOVERED})", []))
    if where.from_log:
        conditions.append(("from_log", []))
    return conditions


def index_hash(value: str) -> tuple[str, bytes]:
    """The hash of a value in the index: the digits that select the bucket, and the four bytes that it holds."""
    digits = hashlib.md5(value.encode(), usedforsecurity=False).hexdigest()
    return digits[:8], bytes.fromhex(digits[8:16])


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _values(file: ArchiveFile) -> tuple[Any, ...]:
    return (
        file.path,
        file.source,
        file.day,
        file.contents.rows,
        file.contents.digest,
        file.bytes,
        file.first_received_at,
        file.last_received_at,
        file.sha256,
        file.from_log,
    )


def _file(row: TupleRow) -> ArchiveFile:
    path, source, day, rows, digest, size, first, last, sha256, from_log, verified_at = row
    return ArchiveFile(
        path=path,
        source=source,
        day=day,
        contents=Contents(rows, digest),
        bytes=size,
        first_received_at=first,
        last_received_at=last,
        sha256=sha256,
        verified_at=verified_at,
        from_log=from_log,
    )
