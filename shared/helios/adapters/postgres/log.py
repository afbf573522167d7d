"""What the projector has read of the log: the SQL, and the conversion of the rows."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString

import psycopg

from helios.adapters.postgres.connection import Pool, translate_errors
from helios.adapters.postgres.parameters import to_json
from helios.model.counts import Count
from helios.ports.log import Partition, Progress
from helios.ports.pending import Pending

SELECT_OFFSETS = """
SELECT topic, partition, next_offset FROM log_offsets
JOIN unnest(%s::text[], %s::integer[]) AS wanted (topic, partition) USING (topic, partition)
"""

# A projector that has lost a partition still has messages of it. Its transaction fails here, whatever it has read.
ADVANCE: LiteralString = """
WITH input AS (
    SELECT * FROM unnest(%(topics)s::text[], %(partitions)s::integer[], %(froms)s::bigint[], %(tos)s::bigint[])
        AS input (topic, partition, since, until)
), written AS (
    INSERT INTO log_offsets AS existing (topic, partition, next_offset)
    SELECT topic, partition, until FROM input
    ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset
    WHERE existing.next_offset = (
        SELECT since FROM input WHERE input.topic = existing.topic AND input.partition = existing.partition
    )
    RETURNING 1
)
SELECT assert_written(count(*), %(expected)s) FROM written
"""

BEGIN_ARCHIVE = """
INSERT INTO archive_offsets (topic, partition, next_offset)
SELECT * FROM unnest(%(topics)s::text[], %(partitions)s::integer[], %(froms)s::bigint[])
ON CONFLICT (topic, partition) DO NOTHING
"""

# An archive that has not caught up stays where it is: it still has to read what Postgres was not given before. A
# partition that goes back has begun again, and what the archive has read is no longer there.
MOVE_ARCHIVE: LiteralString = """
WITH archived AS (
    SELECT topic, partition, next_offset, since, until FROM archive_offsets
    JOIN unnest(%(topics)s::text[], %(partitions)s::integer[], %(froms)s::bigint[], %(tos)s::bigint[])
        AS input (topic, partition, since, until) USING (topic, partition)
    ORDER BY topic, partition FOR UPDATE OF archive_offsets
), moved AS (
    UPDATE archive_offsets SET next_offset = CASE WHEN until < since THEN until
        ELSE greatest(archived.next_offset, until) END
    FROM archived
    WHERE archive_offsets.topic = archived.topic AND archive_offsets.partition = archived.partition
        AND (archived.next_offset >= since OR until < since)
)
SELECT topic, partition, next_offset FROM archived
"""

RAISE_COUNTS: LiteralString = """
WITH input AS (
    SELECT * FROM json_to_recordset(%s::json) AS input (
        minute timestamptz, source text, type text,
        stored bigint, duplicate bigint, contradictory bigint, rejected bigint
    )
), known AS (
    SELECT log_counts.* FROM log_counts JOIN input USING (minute, source, type)
), written AS (
    INSERT INTO log_counts AS existing (minute, source, type, stored, duplicate, contradictory, rejected)
    SELECT minute, source, type, stored, duplicate, contradictory, rejected FROM input
    ON CONFLICT (minute, source, type) DO UPDATE SET
        stored = greatest(existing.stored, excluded.stored),
        duplicate = greatest(existing.duplicate, excluded.duplicate),
        contradictory = greatest(existing.contradictory, excluded.contradictory),
        rejected = greatest(existing.rejected, excluded.rejected)
)
SELECT minute, source, type,
       greatest(0, input.stored - coalesce(known.stored, 0)),
       greatest(0, input.duplicate - coalesce(known.duplicate, 0)),
       greatest(0, input.contradictory - coalesce(known.contradictory, 0)),
       greatest(0, input.rejected - coalesce(known.rejected, 0))
FROM input LEFT JOIN known USING (minute, source, type)
ORDER BY minute, source, type
"""


RAISE_PROJECTED_UNTIL = """
INSERT INTO log_progress AS existing (projected_until) VALUES (%s)
ON CONFLICT (one) DO UPDATE SET projected_until = excluded.projected_until
WHERE existing.projected_until < excluded.projected_until
"""

RAISE_PUBLISHED = """
INSERT INTO log_rules AS existing (generation, published_at) VALUES (%s, %s)
ON CONFLICT (one) DO UPDATE SET generation = excluded.generation, published_at = excluded.published_at
WHERE existing.generation < excluded.generation
"""

# What is projected was in a checkpoint of the job, as were the rules before it, and then every task has them. The two
# times are those of processes whose clocks may differ a little.
ARE_TAKEN = """
SELECT EXISTS (
    SELECT FROM log_rules, log_progress, flow_generation
    WHERE generation = number AND projected_until > published_at + interval '5 seconds'
)
"""


def read_offsets(pool: Pool, statement: LiteralString, partitions: Collection[Partition]) -> dict[Partition, int]:
    """What a statement returns for these partitions, which it takes as their topics and their numbers."""
    wanted = [[topic for topic, _ in partitions], [number for _, number in partitions]]
    with translate_errors(), pool.connection() as connection:
        rows = connection.execute(statement, wanted).fetchall()
    return {(topic, number): offset for topic, number, offset in rows}


class PostgresLogOffsets:
    """Implements ``LogOffsets`` on a pool of connections."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def next_offsets(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """The first message of each partition that was not read; partitions that were never read are left out."""
        return read_offsets(self._pool, SELECT_OFFSETS, partitions)


class PostgresProjectionProgress:
    """Implements ``ProjectionProgress`` on a pool of connections."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def projected_until(self) -> datetime | None:
        """The time before which every delivery was projected that was appended to the log; None: not known yet."""
        with translate_errors(), self._pool.connection() as connection:
            row = connection.execute("SELECT projected_until FROM log_progress").fetchone()
        return row[0] if row else None

    def raise_projected_until(self, at: datetime) -> None:
        """Take a later time; an earlier one changes nothing."""
        with translate_errors(), self._pool.connection() as connection:
            connection.execute(RAISE_PROJECTED_UNTIL, [at])


class PostgresPublishedRules:
    """Implements ``PublishedRules`` on a pool of connections."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def raise_published(self, generation: int, at: datetime) -> None:
        """Note that the log has the rules of a generation since a time; an earlier generation changes nothing."""
        with translate_errors(), self._pool.connection() as connection:
            connection.execute(RAISE_PUBLISHED, [generation, at])

    def are_taken(self) -> bool:
        """Whether the job judges by the rules in force, and all that it judged by earlier ones is projected."""
        with translate_errors(), self._pool.connection() as connection:
            row = connection.execute(ARE_TAKEN).fetchone()
        return bool(row and row[0])


class PostgresLogWriter:
    """Implements ``LogWriter`` on the connection of a unit of work."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def advance(self, progress: Mapping[Partition, Progress]) -> None:
        """Begin to move offsets, or fail the transaction if one is not where it was assumed."""
        self._connection.execute(ADVANCE, offset_parameters(progress))

    def begin_archive(self, progress: Mapping[Partition, Progress]) -> None:
        """Let the archive read the log from where these partitions were read before, if it has not begun."""
        self._connection.execute(BEGIN_ARCHIVE, offset_parameters(progress))

    def pass_archive(self, progress: Mapping[Partition, Progress]) -> Mapping[Partition, int]:
        """Take these messages from an archive that has caught up; the offsets before which it has read them itself."""
        if not progress:
            return {}
        archived = self._connection.execute(MOVE_ARCHIVE, offset_parameters(progress)).fetchall()
        return {(topic, number): offset for topic, number, offset in archived}

    def raise_counts(self, counts: Sequence[Count]) -> Pending[list[Count]]:
        """Begin to take larger counts, and return what they add to the known ones."""
        if not counts:
            return Pending(list)
        added = self._connection.execute(RAISE_COUNTS, (to_json(counts),))
        return Pending(lambda: [count for row in added.fetchall() if (count := _count(row)).received])


def offset_parameters(progress: Mapping[Partition, Progress]) -> dict[str, object]:
    """The parameters of a statement that moves offsets."""
    return {
        "topics": [topic for topic, _ in progress],
        "partitions": [number for _, number in progress],
        "froms": [moved.since for moved in progress.values()],
        "tos": [moved.until for moved in progress.values()],
        "expected": len(progress),
    }


def _count(row: tuple[Any, ...]) -> Count:
    minute, source, type_, stored, duplicate, contradictory, rejected = row
    return Count(
        minute=minute,
        source=source,
        type=type_,
        stored=stored,
        duplicate=duplicate,
        contradictory=contradictory,
        rejected=rejected,
    )
