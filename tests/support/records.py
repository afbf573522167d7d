"""The rows of the database after a test, and the check that they are consistent."""

from collections import Counter
from typing import Any

from helios.adapters.postgres.connection import Pool
from helios.adapters.postgres.stream import PostgresOutbox

IDS_IN_FRAMES = """
SELECT batch.source, batch.producer, stored.id
FROM frames CROSS JOIN LATERAL json_to_recordset(frames.keys) AS batch (source text, producer text, ids json)
CROSS JOIN LATERAL json_array_elements_text(ids) AS stored (id) ORDER BY 1, 2, 3
"""

SUMS = "sum(stored)::int, sum(duplicate)::int, sum(contradictory)::int, sum(rejected)::int"

COUNTS_SUMMED_UP = f"""
SELECT since::text, source, {SUMS} FROM event_counts,
LATERAL (VALUES ('-infinity'::timestamptz), (date_trunc('hour', minute, 'UTC'))) AS bucket (since)
GROUP BY since, source ORDER BY 1, 2
"""

TOTALS = f"SELECT since::text, source, {SUMS} FROM event_totals GROUP BY since, source ORDER BY 1, 2"


class Records:
    """Reads the tables directly, independently of the code under test."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def keys(self) -> list[tuple[Any, ...]]:
        """The identity of every row of ``events``, sorted."""
        return self._rows("SELECT source, producer, id FROM events ORDER BY 1, 2, 3")

    def ids(self, source: str) -> list[str]:
        """The ids of one source, sorted."""
        return [id_ for row_source, _, id_ in self.keys() if row_source == source]

    def counts(self) -> Counter[str]:
        """The number of deliveries by outcome."""
        PostgresOutbox(self._pool).number()
        ((stored, duplicate, contradictory, rejected),) = self._rows(f"SELECT {SUMS} FROM event_counts")
        sums = {"stored": stored, "duplicate": duplicate, "contradictory": contradictory, "rejected": rejected}
        return Counter({outcome: count for outcome, count in sums.items() if count})

    def last_position(self) -> int:
        """The position of the last frame that was stored; the API may not have given it one yet."""
        outbox = PostgresOutbox(self._pool)
        outbox.number()
        return outbox.window().position

    def assert_exact(self) -> None:
        """Each event is once in ``events``, in the counts and in the outbox, and dead letters equal their counts.

        The totals equal the sums of the counts per minute.
        """
        PostgresOutbox(self._pool).number()  # adds what the frames carry to the counts
        keys = self.keys()
        rows_by_source = dict(self._rows("SELECT source, count(*) FROM events GROUP BY source"))
        counted = dict(self._rows("SELECT source, sum(stored)::int FROM event_counts GROUP BY source"))
        assert {source: count for source, count in counted.items() if count} == rows_by_source

        assert self._rows(IDS_IN_FRAMES) == keys
        assert self._rows(TOTALS) == self._rows(COUNTS_SUMMED_UP)

        refused = self._rows("SELECT coalesce(sum(rejected + contradictory), 0)::int FROM event_counts")
        assert self._rows("SELECT coalesce(sum(attempts), 0)::int FROM dead_letters") == refused

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        with self._pool.connection() as connection:
            return connection.execute(query).fetchall()
