"""Counts of deliveries, and their sums: the SQL, and the conversion of the rows."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, LiteralString

import psycopg

from helios.adapters.postgres.query import Query, conjunction, limit_conditions
from helios.model.access import EventLimits
from helios.model.counts import LAST_DAY, MinuteCount, Totals
from helios.model.sources import UNKNOWN

SELECT_MINUTES: LiteralString = """
SELECT minute, source, sum(stored)::bigint, sum(duplicate)::bigint, sum(contradictory)::bigint, sum(rejected)::bigint
FROM (
    SELECT minute, source, type, stored, duplicate, contradictory, rejected FROM event_counts
    UNION ALL
    SELECT minute, source, type, stored, duplicate, contradictory, rejected FROM waiting_counts
) AS counts
"""

BY_MINUTE: LiteralString = "GROUP BY minute, source ORDER BY minute, source"


# The last 24 hours are the sums of the full hours, plus the minutes before the first full hour.
SELECT_TOTALS = """
SELECT source, sum(stored)::bigint, sum(duplicate)::bigint, sum(contradictory)::bigint, sum(rejected)::bigint,
       sum(recent)::bigint, (SELECT position FROM stream)
FROM (
    SELECT source, stored, duplicate, contradictory, rejected, (
        SELECT coalesce(sum(hour.stored), 0) FROM event_totals AS hour
        WHERE hour.source = total.source AND hour.since >= %(first_hour)s
    )::bigint + (
        SELECT coalesce(sum(minutes.stored), 0) FROM event_counts AS minutes
        WHERE minutes.source = total.source AND minutes.minute >= %(since)s AND minutes.minute < %(first_hour)s
    )::bigint AS recent
    FROM event_totals AS total WHERE since = '-infinity'
    UNION ALL
    SELECT source, stored, duplicate, contradictory, rejected, CASE WHEN minute >= %(since)s THEN stored ELSE 0 END
    FROM waiting_counts WHERE NOT %(only_numbered)s
) AS totals
GROUP BY source
"""


# The sums of SELECT_TOTALS for a caller who may not see every type: event_totals has no types. There is a row even if
# there are no sums.
LIMITED_TOTALS: LiteralString = """
SELECT stream.position, sums.* FROM stream LEFT JOIN (
    SELECT source, sum(stored)::bigint, sum(duplicate)::bigint, sum(contradictory)::bigint, sum(rejected)::bigint,
           (coalesce(sum(stored) FILTER (WHERE minute >= %s), 0))::bigint
    FROM event_counts
"""


class PostgresMinuteReader:
    """Implements ``MinuteReader`` on the connection of a unit of work."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def minutes(self, since: datetime) -> list[MinuteCount]:
        """The counts from the minute ``since`` on, sorted by minute and source; empty minutes are left out."""
        query = f"{SELECT_MINUTES} WHERE minute >= %s {BY_MINUTE}"
        return [minute_from_row(row) for row in self._connection.execute(query, [since]).fetchall()]


class PostgresCountReader(Query):
    """Implements ``CountReader`` on a pool of connections."""

    def totals(self, now: datetime, *, only_numbered: bool = False) -> Totals:
        """All counts, summed up. It reads the hourly sums of a day, and the minute counts of at most one hour."""
        since = now - LAST_DAY
        hour = since.replace(minute=0, second=0, microsecond=0)
        first_hour = hour if hour == since else hour + timedelta(hours=1)
        rows = self._all(SELECT_TOTALS, {"since": since, "first_hour": first_hour, "only_numbered": only_numbered})
        return Totals(
            events_by_source={source: count for source, count, *_ in rows if source != UNKNOWN},
            stored=sum(row[1] for row in rows),
            duplicate=sum(row[2] for row in rows),
            contradictory=sum(row[3] for row in rows),
            rejected=sum(row[4] for row in rows),
            last_24h=sum(row[5] for row in rows),
            position=rows[0][6] if rows else 0,
        )

    def limited_totals(self, now: datetime, limits: EventLimits) -> Totals:
        """The totals of what a caller may see, at the latest position. It reads the counts of every minute."""
        where, values = conjunction(limit_conditions(limits))
        query: LiteralString = f"{LIMITED_TOTALS} {where} GROUP BY source) AS sums ON true"
        ((position, *_), *_) = rows = self._all(query, [now - LAST_DAY, *values])
        sums = [counts for _, *counts in rows if counts[0] is not None]
        return Totals(
            events_by_source={source: stored for source, stored, *_ in sums if source != "unknown"},
            stored=sum(counts[1] for counts in sums),
            duplicate=sum(counts[2] for counts in sums),
            contradictory=sum(counts[3] for counts in sums),
            rejected=sum(counts[4] for counts in sums),
            last_24h=sum(counts[5] for counts in sums),
            position=position,
        )

    def minutes(self, since: datetime, limits: EventLimits = EventLimits()) -> list[MinuteCount]:  # noqa: B008 - frozen
        """The counts from the minute ``since`` on, sorted by minute and source; empty minutes are left out."""
        where, values = conjunction([("minute >= %s", [since]), *limit_conditions(limits)])
        return [minute_from_row(row) for row in self._all(f"{SELECT_MINUTES} {where} {BY_MINUTE}", values)]


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
