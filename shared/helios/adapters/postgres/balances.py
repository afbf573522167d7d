"""Balances in Postgres: what manifests declare, the counts of what arrived, and the comparison of the two."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import LiteralString

import psycopg
from psycopg.rows import TupleRow

from helios.adapters.postgres.connection import translate_errors
from helios.adapters.postgres.parameters import to_json
from helios.adapters.postgres.query import Query, limit_conditions, with_values
from helios.model.balances import Arrivals, Balance, BalanceFilter, Manifest, MissingChange, Repeats
from helios.model.incidents import drift_cause
from helios.model.paging import Page, decode_cursor, encode_cursor
from helios.reconciliation.record import cause_value, slot_of

LOCK = 4_869_532_075
"""The advisory lock of the process that counts, which its transaction holds."""

DECLARE = """
INSERT INTO manifests AS existing
    (minute, source, type, producer, publisher, advisory, published, repeated, skew_seconds, revision, time, id)
SELECT minute, source, type, producer, publisher, advisory, published, repeated, skew_seconds, revision, time, id
FROM json_to_recordset(%s::json) AS input (
    minute timestamptz, source text, type text, producer text, publisher text, advisory boolean, published bigint,
    repeated bigint, skew_seconds integer, revision integer, time timestamptz, id text
)
ON CONFLICT (minute, source, type, md5(producer), publisher, advisory) DO UPDATE SET
    published = excluded.published, repeated = excluded.repeated, skew_seconds = excluded.skew_seconds,
    revision = excluded.revision, time = excluded.time, id = excluded.id, pending = true
WHERE (existing.revision, existing.time, existing.id) < (excluded.revision, excluded.time, excluded.id)
"""

REPEAT = """
INSERT INTO event_repeats (minute, source, type, number)
SELECT minute, source, type, number
FROM json_to_recordset(%s::json) AS input (minute timestamptz, source text, type text, number bigint)
"""

ARRIVE = """
INSERT INTO event_arrivals (received_at, time, source, type, producer, number)
SELECT received_at, time, source, type, producer, number
FROM json_to_recordset(%s::json) AS input (
    received_at timestamptz, time timestamptz, source text, type text, producer text, number bigint
)
"""

TAKE_PENDING = """
UPDATE manifests SET pending = false WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM manifests WHERE pending LIMIT %s FOR UPDATE SKIP LOCKED
))
RETURNING minute, source, type
"""

# A statement of its own, which sees what was committed when the rows above were locked. Everything is counted again: a
# further manifest may name a further producer.
OPEN_BALANCES = """
INSERT INTO balances AS existing
    (minute, source, type, published, repeated, advisory, skew_seconds, due_at, counted_until, open)
SELECT minute, source, type, sum(published) FILTER (WHERE NOT advisory),
       coalesce(sum(repeated) FILTER (WHERE NOT advisory), 0), sum(published) FILTER (WHERE advisory),
       max(skew_seconds), minute + interval '1 minute' + %(grace)s, minute - %(grace)s, minute >= %(at_first)s
FROM manifests
JOIN (
    SELECT DISTINCT minute, source, type
    FROM json_to_recordset(%(keys)s::json) AS input (minute timestamptz, source text, type text)
) AS taken USING (minute, source, type)
GROUP BY minute, source, type
ON CONFLICT (minute, source, type) DO UPDATE SET
    published = excluded.published, repeated = excluded.repeated, advisory = excluded.advisory,
    skew_seconds = excluded.skew_seconds, due_at = excluded.due_at, counted_until = excluded.counted_until,
    stored_before = 0, near_before = 0, counted_at = NULL, open = excluded.open
"""

# One that still lacks events is counted again a minute later.
IS_DUE: LiteralString = """
open AND due_at <= %(now)s AND coalesce(counted_at <= %(now)s - interval '55 seconds', true)
"""

OLDEST = f"SELECT min(counted_until) FROM balances WHERE {IS_DUE}"  # noqa: S608 - only a constant is filled in

# An event is compared with the balance of its own minute and, for the skew, with those of the minutes beside it. The
# period of receipt selects the partitions and the part of their index.
FOUND: LiteralString = """
    SELECT wanted.minute, wanted.source, wanted.type,
           sum({number}) FILTER (WHERE NOT is_near) AS stored, sum({number}) FILTER (WHERE is_near) AS near,
           sum({number}) FILTER (WHERE NOT is_near AND received_at < %(settled_before)s) AS stored_before,
           sum({number}) FILTER (WHERE is_near AND received_at < %(settled_before)s) AS near_before
    FROM {relation} AS arrived JOIN wanted ON arrived.source = wanted.source AND arrived.type = wanted.type
        AND arrived.producer = wanted.producer AND date_trunc('minute', arrived.time, 'UTC') = wanted.own_minute
    WHERE arrived.received_at >= %(since)s AND arrived.received_at < %(until)s
        AND arrived.received_at >= wanted.counted_until AND arrived.time >= wanted.first AND arrived.time < wanted.last
    GROUP BY wanted.minute, wanted.source, wanted.type
"""

# Either of the two has an event: HELIOS_EVENT_STORE says which.
COUNT = f"""
WITH wanted AS MATERIALIZED (
    SELECT DISTINCT minute, source, type, producer, counted_until, minute + beside * interval '1 minute' AS own_minute,
           beside <> 0 AS is_near, minute - skew AS first, minute + interval '1 minute' + skew AS last
    FROM (
        SELECT minute, source, type, counted_until, skew_seconds * interval '1 second' AS skew
        FROM balances WHERE {IS_DUE} AND counted_until < %(until)s
    ) AS balances
    JOIN manifests USING (minute, source, type)
    CROSS JOIN generate_series(-1, 1) AS beside
    WHERE beside = 0 OR skew > interval '0'
), found AS (
    SELECT minute, source, type, sum(stored)::bigint AS stored, sum(near)::bigint AS near,
           sum(stored_before)::bigint AS stored_before, sum(near_before)::bigint AS near_before
    FROM (
        {FOUND.format(relation="events", number="1")} UNION ALL
        {FOUND.format(relation="event_arrivals", number="arrived.number")}
    ) AS found
    GROUP BY minute, source, type
)
UPDATE balances SET
    stored = balances.stored_before + coalesce(found.stored, 0),
    near = balances.near_before + coalesce(found.near, 0),
    stored_before = balances.stored_before + coalesce(found.stored_before, 0),
    near_before = balances.near_before + coalesce(found.near_before, 0),
    counted_until = greatest(balances.counted_until, least(%(until)s, %(settled_before)s))
FROM (
    SELECT minute, source, type FROM balances WHERE {IS_DUE} AND counted_until < %(until)s
) AS due LEFT JOIN found USING (minute, source, type)
WHERE (balances.minute, balances.source, balances.type) = (due.minute, due.source, due.type)
"""  # noqa: S608 - only a constant is filled in

BALANCE = f"""
WITH before AS MATERIALIZED (
    SELECT minute, source, type, missing, coalesce(published - repeated, 0) AS expected, stored + near AS arrived,
           minute - skew_seconds * interval '1 second' AS first,
           minute + interval '1 minute' + skew_seconds * interval '1 second' AS last
    FROM balances WHERE {IS_DUE}
), counted AS (
    SELECT before.*, repeats.number AS duplicate, dead.strict AS rejected,
           greatest(0, expected - arrived - dead.wide) AS now_missing
    FROM before, LATERAL (
        SELECT coalesce(sum(number), 0)::bigint AS number FROM event_repeats AS repeat
        WHERE (repeat.minute, repeat.source, repeat.type) = (before.minute, before.source, before.type)
    ) AS repeats, LATERAL (
        SELECT count(*) AS wide,
               count(*) FILTER (WHERE event_time >= minute AND event_time < minute + interval '1 minute') AS strict
        FROM dead_letters AS rejection
        WHERE status = 'rejected' AND replayed_at IS NULL AND rejection.source = before.source
            AND event_type = before.type AND event_time >= first AND event_time < last
    ) AS dead
), changed AS (
    UPDATE balances SET duplicate = counted.duplicate, rejected = counted.rejected, missing = counted.now_missing,
        counted_at = %(now)s, open = counted.now_missing > 0 AND balances.minute >= %(at_last)s
    FROM counted
    WHERE (balances.minute, balances.source, balances.type) = (counted.minute, counted.source, counted.type)
)
SELECT minute, source, type, now_missing - missing FROM counted WHERE now_missing <> missing
ORDER BY minute, source, type
"""  # noqa: S608 - only a constant is filled in

# The incidents take what waits here in their next turn, as they do with what frames say about causes.
REPORT = "INSERT INTO incident_deltas (cause, slot, number, amount) VALUES (%s, %s, %s, 0)"

FORGET_REPEATS = """
DELETE FROM event_repeats WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM event_repeats WHERE minute < %(before)s OR minute > %(after)s
    LIMIT %(limit)s FOR UPDATE SKIP LOCKED
))
"""

FORGET_ARRIVALS = """
DELETE FROM event_arrivals WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM event_arrivals WHERE received_at < %(before)s LIMIT %(limit)s FOR UPDATE SKIP LOCKED
))
"""

SELECT_BALANCES: LiteralString = """
SELECT minute, source, type, state, published, repeated, advisory, stored, duplicate, rejected, missing, extra,
       skew_seconds, counted_at
FROM (
    SELECT *, CASE
        WHEN missing > 0 THEN 'missing'
        WHEN counted_at IS NULL AND NOT open THEN 'uncounted'
        WHEN counted_at IS NULL OR counted_at < due_at THEN 'counting'
        WHEN published IS NULL THEN 'advisory'
        WHEN extra > 0 THEN 'extra'
        ELSE 'balanced'
    END AS state
    FROM (
        SELECT *, CASE WHEN counted_at >= due_at AND skew_seconds = 0
            THEN greatest(0, stored + rejected - (published - repeated)) ELSE 0 END AS extra
        FROM balances
    ) AS with_extra
) AS balances
"""


class PostgresBalanceWriter:
    """Implements ``BalanceWriter`` on the connection of a unit of work."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def declare(self, manifests: Sequence[Manifest]) -> None:
        """Store what manifests declare. Of those with the same identity, the one with the greatest rank stays."""
        if manifests:
            self._connection.execute(DECLARE, [to_json(manifests)])

    def repeat(self, repeats: Sequence[Repeats]) -> None:
        """Add deliveries that repeated a stored event."""
        if repeats:
            self._connection.execute(REPEAT, [to_json(repeats)])

    def arrive(self, arrivals: Sequence[Arrivals]) -> None:
        """Add events that arrived, and that the store does not have."""
        if arrivals:
            self._connection.execute(ARRIVE, [to_json(arrivals)])


class PostgresBalances(Query):
    """Implements ``BalanceReader`` and ``BalanceStore`` on a pool of connections."""

    def balances(self, where: BalanceFilter, *, after: str | None, limit: int) -> Page[Balance]:
        """A page of balances, the newest minute first."""
        conditions = limit_conditions(where.limits) + with_values(
            [
                ("state = ANY(%s)", list(where.state) or None),
                ("source = %s", where.source),
                ("type = %s", where.type),
                ("minute >= %s", where.since),
                ("minute < %s", where.until),
            ]
        )
        if after:
            position = decode_cursor(after, tuple[datetime, str, str])
            conditions.append(("(minute, source, type) < (%s, %s, %s)", list(position)))
        rows = self._page(SELECT_BALANCES, conditions, "ORDER BY minute DESC, source DESC, type DESC", limit)
        items = [_balance(row) for row in rows[:limit]]
        last = (items[-1].minute, items[-1].source, items[-1].type) if len(rows) > limit else None
        return Page(items=items, next_cursor=encode_cursor(last) if last else None)

    def open(self, *, at_first: datetime, grace: timedelta, limit: int) -> int:
        """Open a balance for manifests that are new or were replaced, and return how many manifests there were.

        While another process counts there are none: this must not wait for it with the locks of manifests.
        """
        with translate_errors(), self._pool.connection() as connection, connection.transaction():
            rows = connection.execute(TAKE_PENDING, [limit]).fetchall() if _has_lock(connection) else []
            if rows:
                keys = [{"minute": minute, "source": source, "type": type_} for minute, source, type_ in rows]
                connection.execute(OPEN_BALANCES, {"keys": to_json(keys), "grace": grace, "at_first": at_first})
            return len(rows)

    @contextmanager
    def turn(self) -> Iterator["PostgresBalanceTurn | None"]:
        """The turn, which is committed when the block ends without an error; None: another process has it."""
        with translate_errors(), self._pool.connection() as connection, connection.transaction():
            yield PostgresBalanceTurn(connection) if _has_lock(connection) else None


class PostgresBalanceTurn:
    """Implements ``BalanceTurn`` on the connection of one transaction."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def oldest(self, now: datetime) -> datetime | None:
        """The time of receipt up to which the events of every due balance are counted; None: none is due."""
        oldest: datetime | None
        ((oldest,),) = self._connection.execute(OLDEST, {"now": now}).fetchall()
        return oldest

    def count(self, now: datetime, *, since: datetime, until: datetime, settled_before: datetime) -> None:
        """Count the events that were received in a period, for the due balances."""
        parameters = {"now": now, "since": since, "until": until, "settled_before": settled_before}
        self._connection.execute(COUNT, parameters)

    def balance(self, now: datetime, *, at_last: datetime) -> list[MissingChange]:
        """Compare what was counted with what was declared, and return by how much the missing events changed."""
        rows = self._connection.execute(BALANCE, {"now": now, "at_last": at_last}).fetchall()
        return [
            MissingChange(minute=minute, source=source, type=type_, number=number)
            for minute, source, type_, number in rows
        ]

    def report(self, changes: Sequence[MissingChange]) -> None:
        """Pass the changes on to the incidents."""
        rows = [
            (cause_value(drift_cause(change.source, change.type).key, None), slot_of(change.minute), change.number)
            for change in changes
        ]
        with self._connection.cursor() as cursor:
            cursor.executemany(REPORT, rows)

    def forget_repeats(self, *, before: datetime, after: datetime, limit: int) -> int:
        """Remove counts of repeated events of minutes outside a period, and return how many."""
        parameters = {"before": before, "after": after, "limit": limit}
        return self._connection.execute(FORGET_REPEATS, parameters).rowcount

    def forget_arrivals(self, *, before: datetime, limit: int) -> int:
        """Remove counts of events that were received before a time, and return how many."""
        return self._connection.execute(FORGET_ARRIVALS, {"before": before, "limit": limit}).rowcount


def _has_lock(connection: psycopg.Connection) -> bool:
    """Take the lock until the end of the transaction; False: another process has it."""
    (acquired,) = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK]).fetchone() or (False,)
    return bool(acquired)


def _balance(row: TupleRow) -> Balance:
    minute, source, type_, state, published, repeated, advisory, stored, duplicate, rejected, missing, extra, *rest = (
        row
    )
    skew_seconds, counted_at = rest
    return Balance(
        minute=minute,
        source=source,
        type=type_,
        state=state,
        published=published,
        repeated=repeated,
        advisory=advisory,
        stored=stored,
        duplicate=duplicate,
        rejected=rejected,
        missing=missing,
        extra=extra or 0,
        skew_seconds=skew_seconds,
        counted_at=counted_at,
    )
