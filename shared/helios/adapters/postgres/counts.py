"""Counts of deliveries, and their sums: the SQL, and the conversion of the rows."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import psycopg

from helios.adapters.postgres.parameters import to_json
from helios.adapters.postgres.query import Query
from helios.model.counts import LAST_DAY, Count, MinuteCount, Totals
from helios.model.events import SOURCES

ADD_COUNTS = """
INSERT INTO event_counts AS existing (minute, source, type, stored, duplicate, contradictory, rejected)
SELECT minute, source, type, stored, duplicate, contradictory, rejected
FROM json_to_recordset(%s::json) AS input (
    minute timestamptz, source text, type text,
    stored bigint, duplicate bigint, contradictory bigint, rejected bigint
)
ON CONFLICT (minute, source, type) DO UPDATE SET
    stored = existing.stored + excluded.stored,
    duplicate = existing.duplicate + excluded.duplicate,
    contradictory = existing.contradictory + excluded.contradictory,
    rejected = existing.rejected + excluded.rejected
"""


# Sorted, as the counts are: concurrent writers of the same rows in different orders would deadlock.
ADD_TOTALS = """
INSERT INTO event_totals AS existing (since, source, stored, duplicate, contradictory, rejected)
SELECT bucket.since, source, sum(stored), sum(duplicate), sum(contradictory), sum(rejected)
FROM json_to_recordset(%s::json) AS input (
    minute timestamptz, source text, stored bigint, duplicate bigint, contradictory bigint, rejected bigint
), LATERAL (VALUES ('-infinity'::timestamptz), (date_trunc('hour', minute, 'UTC'))) AS bucket (since)
GROUP BY bucket.since, source
ORDER BY bucket.since, source
ON CONFLICT (since, source) DO UPDATE SET
    stored = existing.stored + excluded.stored,
    duplicate = existing.duplicate + excluded.duplicate,
    contradictory = existing.contradictory + excluded.contradictory,
    rejected = existing.rejected + excluded.rejected
"""


SELECT_MINUTES = """
SELECT minute, source, sum(stored)::bigint, sum(duplicate)::bigint, sum(contradictory)::bigint, sum(rejected)::bigint
FROM event_counts WHERE minute >= %s
GROUP BY minute, source ORDER BY minute, source
"""


# The last 24 hours are the sums of the full hours, plus the minutes before the first full hour. ``unnumbered`` are the
# counts in frames without a position, which are subtracted if the caller asks for the sums at the latest position.
SELECT_TOTALS = """
WITH unnumbered AS (
    SELECT frame.source, sum(frame.stored)::bigint AS stored, sum(frame.duplicate)::bigint AS duplicate,
           sum(frame.contradictory)::bigint AS contradictory, sum(frame.rejected)::bigint AS rejected
    FROM frames, json_to_recordset(body -> 'counts') AS frame (
        source text, stored bigint, duplicate bigint, contradictory bigint, rejected bigint
    )
    WHERE position IS NULL AND %(only_numbered)s GROUP BY frame.source
)
SELECT source, total.stored - coalesce(unnumbered.stored, 0), total.duplicate - coalesce(unnumbered.duplicate, 0),
       total.contradictory - coalesce(unnumbered.contradictory, 0), total.rejected - coalesce(unnumbered.rejected, 0), (
    SELECT coalesce(sum(hour.stored), 0) FROM event_totals AS hour
    WHERE hour.source = total.source AND hour.since >= %(first_hour)s
)::bigint + (
    SELECT coalesce(sum(minutes.stored), 0) FROM event_counts AS minutes
    WHERE minutes.source = total.source AND minutes.minute >= %(since)s AND minutes.minute < %(first_hour)s
)::bigint - coalesce(unnumbered.stored, 0), (SELECT position FROM stream)
FROM event_totals AS total LEFT JOIN unnumbered USING (source) WHERE since = '-infinity'
"""


class PostgresCountWriter:
    """Implements ``CountWriter`` on the connection of a unit of work."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def add(self, counts: Sequence[Count]) -> None:
        """Add to the counts of each minute and to their sums."""
        parameters = (to_json(counts),)
        self._connection.execute(ADD_COUNTS, parameters)
        self._connection.execute(ADD_TOTALS, parameters)

    def minutes(self, since: datetime) -> list[MinuteCount]:
        """The counts from the minute ``since`` on, sorted by minute and source; empty minutes are left out."""
        return [minute_from_row(row) for row in self._connection.execute(SELECT_MINUTES, [since]).fetchall()]


class PostgresCountReader(Query):
    """Implements ``CountReader`` on a pool of connections."""

    def totals(self, now: datetime, *, only_numbered: bool = False) -> Totals:
        """All counts, summed up. It reads the hourly sums of a day, and the minute counts of at most one hour."""
        since = now - LAST_DAY
        hour = since.replace(minute=0, second=0, microsecond=0)
        first_hour = hour if hour == since else hour + timedelta(hours=1)
        rows = self._all(SELECT_TOTALS, {"since": since, "first_hour": first_hour, "only_numbered": only_numbered})
        stored = {source: count for source, count, *_ in rows}
        return Totals(
            events_by_source={source: stored.get(source, 0) for source in SOURCES},
            stored=sum(row[1] for row in rows),
            duplicate=sum(row[2] for row in rows),
            contradictory=sum(row[3] for row in rows),
            rejected=sum(row[4] for row in rows),
            last_24h=sum(row[5] for row in rows),
            position=rows[0][6] if rows else 0,
        )

    def minutes(self, since: datetime) -> list[MinuteCount]:
        """The counts from the minute ``since`` on, sorted by minute and source; empty minutes are left out."""
        return [minute_from_row(row) for row in self._all(SELECT_MINUTES, [since])]


def minute_from_row(row: Sequence[Any]) -> MinuteCount:
    """The counts in a row of SELECT_MINUTES."""
    minute, source, stored, duplicate, contradictory, rejected = row
    return MinuteCount(
        minute=minute,
        source=source,
        stored=stored,
        duplicate=duplicate,
        contradictory=contradictory,
        rejected=rejected,
    )
