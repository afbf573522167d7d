"""Incidents in Postgres: the turn that opens and resolves them, the queries, and what users do to them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, LiteralString

import psycopg
from psycopg.rows import TupleRow

from helios.adapters.postgres.audit import ADD_AUDIT_ENTRY, audit_columns
from helios.adapters.postgres.connection import translate_errors
from helios.adapters.postgres.parameters import to_json
from helios.adapters.postgres.query import Conditions, Query, with_values
from helios.model.flows import Money
from helios.model.incidents import (
    FAILED_FOR,
    SEVERITIES,
    Acknowledge,
    Assign,
    Attention,
    Cause,
    CauseCount,
    Incident,
    IncidentAction,
    IncidentFilter,
    IncidentLimits,
    Severity,
    Snooze,
    Transition,
    audit_entry,
    cause_of,
)
from helios.model.paging import Page, decode_cursor, encode_cursor
from helios.reconciliation.record import SLOT, parse_cause_value

LOCK = 4_869_532_074
"""The advisory lock of the process that opens and resolves incidents. Its transaction holds it, so that a pooler of
transactions may stand in between."""

TAKE_COUNTS = """
WITH taken AS (DELETE FROM incident_deltas RETURNING cause, slot, number, amount)
SELECT cause, slot, sum(number)::bigint, sum(amount) FROM taken GROUP BY cause, slot ORDER BY slot, cause
"""

SELECT_INCIDENTS = """
SELECT id, key, title, severity, opened_at, seen_at, resolved_at, resolution, acknowledged_by, acknowledged_at,
       snoozed_until, assignee, counted.number, counted.amounts, counted.first, counted.last
FROM incidents, LATERAL (
    SELECT coalesce(sum(number), 0)::bigint AS number, min(first) AS first, max(last) AS last,
           coalesce(array_agg(ARRAY[currency, amount::text] ORDER BY currency) FILTER (WHERE amount <> 0), '{}')
               AS amounts
    FROM (
        SELECT currency, sum(number) AS number, sum(amount) AS amount,
               min(slot) FILTER (WHERE number > 0) AS first, max(slot) FILTER (WHERE number > 0) AS last
        FROM incident_counts WHERE incident_id = incidents.id GROUP BY currency
    ) AS by_currency
) AS counted
"""

COUNT_OPEN = """
SELECT severity, count(*) FROM incidents
WHERE resolved_at IS NULL AND coalesce(snoozed_until, '-infinity') <= %s GROUP BY severity
"""

# Of a message that was given up, due_at is a minute after its last attempt began.
COUNT_FAILING = """
SELECT receiver, count(*) FROM notification_messages
WHERE state = 'waiting' AND error IS NOT NULL OR state = 'failed' AND due_at > %s GROUP BY receiver
"""

OPEN = """
INSERT INTO incidents (key, kind, flow, source, title, severity, opened_at, seen_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING id
"""

ADD = """
INSERT INTO incident_counts AS existing (incident_id, slot, currency, number, amount) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (incident_id, slot, currency) DO UPDATE SET
    number = existing.number + excluded.number, amount = existing.amount + excluded.amount
"""

# First the newest incident that counts at least this number, then the others, the newest first.
COUNTED = """
SELECT counted.incident_id, counted.number, counted.amount
FROM incidents JOIN incident_counts AS counted ON counted.incident_id = incidents.id
WHERE md5(key) = md5(%(key)s) AND slot = %(slot)s AND currency = %(currency)s AND number > 0
ORDER BY number + %(number)s >= 0 DESC, incidents.id DESC
"""

ANNOUNCE = """
INSERT INTO notifications (key, incident_id, at, transition) VALUES (%s, %s, %s, %s::json)
ON CONFLICT (key) DO NOTHING
"""

LATEST = "SELECT max(id) FROM incidents WHERE md5(key) = md5(%s)"

_ACT: dict[type, LiteralString] = {
    Acknowledge: "acknowledged_by = %(actor)s, acknowledged_at = %(now)s",
    Snooze: "snoozed_until = %(until)s",
    Assign: "assignee = %(assignee)s",
}


class PostgresIncidents(Query):
    """Implements ``IncidentReader`` and ``IncidentStore`` on a pool of connections."""

    def incidents(self, where: IncidentFilter, *, after: str | None, limit: int) -> Page[Incident]:
        """A page of incidents, the newest first."""
        conditions = with_values(
            [
                ("kind = ANY(%s)", list(where.kind) or None),
                ("flow = %s", where.flow),
                ("source = %s", where.source),
                ("coalesce(snoozed_until, '-infinity') > %s", where.now if where.snoozed is True else None),
                ("coalesce(snoozed_until, '-infinity') <= %s", where.now if where.snoozed is False else None),
            ]
        )
        conditions += _limited(where.limits)
        if where.state:
            conditions.append(("resolved_at IS NULL" if where.state == "open" else "resolved_at IS NOT NULL", []))
        if after:
            conditions.append(("id < %s", [decode_cursor(after, int)]))
        rows = self._page(SELECT_INCIDENTS, conditions, "ORDER BY id DESC", limit)
        items = [_incident(row) for row in rows[:limit]]
        return Page(items=items, next_cursor=encode_cursor(items[-1].id) if len(rows) > limit else None)

    def incident(self, id_: int) -> Incident | None:
        """The incident with this id, or None."""
        rows = self._all(f"{SELECT_INCIDENTS} WHERE id = %s", [id_])
        return _incident(rows[0]) if rows else None

    def attention(self, now: datetime) -> Attention:
        """The number of open incidents, and of notifications that fail."""
        open_: dict[Severity, int] = dict(self._all(COUNT_OPEN, [now]))
        failing: dict[str, int] = dict(self._all(COUNT_FAILING, [now - FAILED_FOR]))
        return Attention(incidents={severity: open_.get(severity, 0) for severity in SEVERITIES}, failing=failing)

    def act(self, id_: int, action: IncidentAction, *, actor: str, now: datetime) -> Incident | None:
        """Apply what a user does, with its entry in the audit log; None if no open incident has this id."""
        acknowledged = isinstance(action, Acknowledge) and action.acknowledged
        values = {
            "actor": actor if acknowledged else None,
            "now": now if acknowledged else None,
            "until": action.until if isinstance(action, Snooze) else None,
            "assignee": action.assignee if isinstance(action, Assign) else None,
            "id": id_,
        }
        update: LiteralString = f"UPDATE incidents SET {_ACT[type(action)]} WHERE id = %(id)s AND resolved_at IS NULL"  # noqa: S608 - constants
        with translate_errors(), self._pool.connection() as connection, connection.transaction():
            if not connection.execute(update, values).rowcount:
                return None
            (row,) = connection.execute(f"{SELECT_INCIDENTS} WHERE id = %s", [id_]).fetchall()
            incident = _incident(row)
            connection.execute(ADD_AUDIT_ENTRY, audit_columns(audit_entry(incident, action, actor=actor, at=now)))
        return incident

    @contextmanager
    def turn(self) -> Iterator["PostgresIncidentTurn | None"]:
        """The turn, which is committed when the block ends without an error; None: another process has it."""
        with translate_errors(), self._pool.connection() as connection, connection.transaction():
            (acquired,) = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK]).fetchone() or (False,)
            yield PostgresIncidentTurn(connection) if acquired else None


class PostgresIncidentTurn:
    """Implements ``IncidentTurn`` on the connection of one transaction."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def counts(self) -> list[CauseCount]:
        """What numbered frames have added to causes since the last turn."""
        rows = self._connection.execute(TAKE_COUNTS).fetchall()
        return [
            CauseCount(key=key, slot=slot, currency=currency, number=number, amount=amount)
            for value, slot, number, amount in rows
            for key, currency in [parse_cause_value(value)]
        ]

    def open_incidents(self) -> list[Incident]:
        """Every open incident, in the order in which they were opened."""
        select: LiteralString = f"{SELECT_INCIDENTS} WHERE resolved_at IS NULL ORDER BY id"
        return [_incident(row) for row in self._connection.execute(select).fetchall()]

    def open(self, cause: Cause, *, title: str, severity: Severity, at: datetime) -> int:
        """Open an incident, and return its id."""
        values = (cause.key, cause.kind, cause.flow, cause.source, title, severity, at, at)
        ((id_,),) = self._connection.execute(OPEN, values).fetchall()
        return int(id_)

    def add(self, id_: int, counts: Sequence[CauseCount]) -> None:
        """Add counts to an incident."""
        with self._connection.cursor() as cursor:
            rows = [(id_, count.slot, count.currency, count.number, count.amount) for count in counts]
            cursor.executemany(ADD, rows)

    def take(self, count: CauseCount) -> CauseCount | None:
        """Take a count that is not positive from incidents of its cause; none counts less than 0."""
        left = count
        for id_, number, amount in self._connection.execute(COUNTED, count._asdict()).fetchall():
            if number > -left.number:
                self.add(id_, [left])
                return None
            self.add(id_, [count._replace(number=-number, amount=-amount)])
            left = left._replace(number=left.number + number, amount=left.amount + amount)
        return left if left.number else None

    def latest(self, key: str) -> int | None:
        """The newest incident with this cause, open or resolved; None if there is none."""
        ((id_,),) = self._connection.execute(LATEST, [key]).fetchall()
        return None if id_ is None else int(id_)

    def see(self, ids: Sequence[int], at: datetime) -> None:
        """Record that the causes of these incidents were seen."""
        if ids:
            self._connection.execute("UPDATE incidents SET seen_at = %s WHERE id = ANY(%s)", [at, list(ids)])

    def resolve(self, id_: int, resolution: str, at: datetime) -> None:
        """Resolve an incident."""
        update = "UPDATE incidents SET resolved_at = %s, resolution = %s WHERE id = %s"
        self._connection.execute(update, [at, resolution, id_])

    def announce(self, transitions: Sequence[Transition]) -> None:
        """Write the transitions into the outbox of notifications."""
        with self._connection.cursor() as cursor:
            rows = [(each.key, each.incident.id, each.at, to_json(each)) for each in transitions]
            cursor.executemany(ANNOUNCE, rows)

    def end_snooze(self, id_: int) -> None:
        """Record that the snooze of an incident is over."""
        self._connection.execute("UPDATE incidents SET snoozed_until = NULL WHERE id = %s", [id_])


def _limited(limits: IncidentLimits) -> list[Conditions]:
    """The condition of what the caller may see; none if that is everything."""
    if limits == IncidentLimits():
        return []
    alternatives: list[tuple[LiteralString, Any]] = [
        ("kind = 'flow' AND (%s::text[] IS NULL OR flow = ANY(%s))", limits.flows),
        ("kind = 'silence' AND (%s::text[] IS NULL OR source = ANY(%s))", limits.sources),
        ("kind IN ('dead_letters', 'drift') AND (%s::text[] IS NULL OR source = ANY(%s))", limits.dead_letters),
    ]
    sql: LiteralString = " OR ".join(condition for condition, _ in alternatives)
    values = [None if names is None else list(names) for _, names in alternatives for _ in range(2)]
    return [(f"({sql} OR kind = 'consumer' AND %s)", [*values, limits.consumers])]


def _incident(row: TupleRow) -> Incident:
    id_, key, title, severity, opened_at, seen_at, resolved_at, resolution, *rest = row
    acknowledged_by, acknowledged_at, snoozed_until, assignee, number, amounts, first, last = rest
    # As in summaries, the amount without a currency comes last.
    ordered = sorted(amounts, key=lambda pair: (not pair[0], pair[0]))
    return Incident(
        id=id_,
        cause=cause_of(key),
        title=title,
        severity=severity,
        opened_at=opened_at,
        seen_at=seen_at,
        resolved_at=resolved_at,
        resolution=resolution,
        number=number,
        amounts=[Money(currency=currency or None, amount=Decimal(amount)) for currency, amount in ordered],
        since=first,
        until=last + SLOT if last else None,
        acknowledged_by=acknowledged_by,
        acknowledged_at=acknowledged_at,
        snoozed_until=snoozed_until,
        assignee=assignee,
    )
