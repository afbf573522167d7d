"""The read side: the ledger summed up, and pages of events, dead letters and stories."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, LiteralString

from psycopg.rows import TupleRow

from helios.adapters.postgres.connection import Pool, translated
from helios.adapters.postgres.flows import (
    FLOW_COLUMNS,
    OLDEST_OPEN,
    SELECT_FLOW,
    SUM_FLOWS,
    SUM_FLOWS_OF_POSITION,
    count_from_row,
    flow_from_row,
)
from helios.adapters.postgres.rows import EVENT_COLUMNS, SELECT_MINUTES, event_from_row, minute_from_row
from helios.model.audit import Action, AuditEntry
from helios.model.counts import LAST_DAY, MinuteCount, Totals
from helios.model.dead_letters import DeadLetter, DeadLetterFilter, DeadLetterGroup, StoredDeadLetter
from helios.model.events import SOURCES, Event, EventFilter, Key
from helios.model.flows import FlowFilter, FlowStatus
from helios.model.paging import Page, decode_cursor, encode_cursor
from helios.reconciliation.record import SLOT, FlowCount, FlowKey, FlowRecord, FlowSums, slot_of

# The last day is its full hours, and the minutes before the first of these. What only frames without a position tell is
# left out of what is told.
SELECT_TOTALS = """
WITH untold AS (
    SELECT count.source, sum(count.stored)::bigint AS stored, sum(count.duplicate)::bigint AS duplicate,
           sum(count.contradictory)::bigint AS contradictory, sum(count.rejected)::bigint AS rejected
    FROM frames, json_to_recordset(body -> 'counts') AS count (
        source text, stored bigint, duplicate bigint, contradictory bigint, rejected bigint
    )
    WHERE position IS NULL AND %(only_told)s GROUP BY count.source
)
SELECT source, total.stored - coalesce(untold.stored, 0), total.duplicate - coalesce(untold.duplicate, 0),
       total.contradictory - coalesce(untold.contradictory, 0), total.rejected - coalesce(untold.rejected, 0), (
    SELECT coalesce(sum(hour.stored), 0) FROM event_totals AS hour
    WHERE hour.source = total.source AND hour.since >= %(first_hour)s
)::bigint + (
    SELECT coalesce(sum(known.stored), 0) FROM event_counts AS known
    WHERE known.source = total.source AND known.minute >= %(since)s AND known.minute < %(first_hour)s
)::bigint - coalesce(untold.stored, 0), (SELECT position FROM stream)
FROM event_totals AS total LEFT JOIN untold USING (source) WHERE since = '-infinity'
"""

SELECT_EVENT = f"SELECT {EVENT_COLUMNS} FROM events WHERE source = %s AND id = %s"  # noqa: S608 - a constant of ours

DEAD_LETTER_COLUMNS = """
id, first_received_at, fingerprint, source, channel, status, reason, field, body, headers, last_received_at, attempts,
replayed_as, replayed_at, replayed_keys
"""

SELECT_DEAD_LETTER = f"SELECT {DEAD_LETTER_COLUMNS} FROM dead_letters WHERE id = %s"  # noqa: S608 - a constant of ours

GROUP_COLUMNS = """
source, status, field, reason, count(*), min(first_received_at), max(last_received_at), max(id)
"""
BY_GROUP = "GROUP BY source, status, field, reason ORDER BY count(*) DESC, max(id) DESC LIMIT %s"

Wanted = tuple[LiteralString, list[Any]]
"""A condition, and the values in it."""


class PostgresReader:
    """Keeps ``EventReader`` on a pool of connections."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def totals(self, now: datetime, *, only_told: bool = False) -> Totals:
        """The ledger summed up; reads the sums of a day's hours, and the counts of at most one hour."""
        since = now - LAST_DAY
        hour = since.replace(minute=0, second=0, microsecond=0)
        first_hour = hour if hour == since else hour + timedelta(hours=1)
        rows = self._all(SELECT_TOTALS, {"since": since, "first_hour": first_hour, "only_told": only_told})
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
        """The minutes from this one on in which something arrived, in order, and by source within one."""
        return [minute_from_row(row) for row in self._all(SELECT_MINUTES, [since])]

    def events(self, where: EventFilter, *, after: str | None, limit: int) -> Page[Event]:
        """Events, newest ``received_at`` first."""
        wanted = events_wanted(where)
        if after:
            position = decode_cursor(after, tuple[datetime, str, str])
            wanted.append(("(received_at, source, id) < (%s, %s, %s)", list(position)))
        rows = self._page(
            f"SELECT {EVENT_COLUMNS} FROM events",  # noqa: S608 - a constant of ours
            wanted,
            "ORDER BY received_at DESC, source DESC, id DESC",
            limit,
        )
        events = [event_from_row(row) for row in rows[:limit]]
        more = len(rows) > limit
        last = (events[-1].received_at, *events[-1].key) if more else None
        return Page(items=events, next_cursor=encode_cursor(last) if last else None)

    def event(self, key: Key) -> Event | None:
        """One event, or None."""
        rows = self._all(SELECT_EVENT, list(key))
        return event_from_row(rows[0]) if rows else None

    def dead_letters(self, where: DeadLetterFilter, *, after: str | None, limit: int) -> Page[StoredDeadLetter]:
        """Dead letters, newest first."""
        wanted = dead_letter_conditions(where)
        if after:
            wanted.append(("id < %s", [decode_cursor(after, int)]))
        rows = self._page(
            f"SELECT {DEAD_LETTER_COLUMNS} FROM dead_letters",  # noqa: S608 - a constant of ours
            wanted,
            "ORDER BY id DESC",
            limit,
        )
        dead_letters = [dead_letter_from_row(row) for row in rows[:limit]]
        more = len(rows) > limit
        return Page(items=dead_letters, next_cursor=encode_cursor(dead_letters[-1].id) if more else None)

    def dead_letter(self, number: int) -> StoredDeadLetter | None:
        """One dead letter by its id, or None."""
        rows = self._all(SELECT_DEAD_LETTER, [number])
        return dead_letter_from_row(rows[0]) if rows else None

    def dead_letter_groups(self, where: DeadLetterFilter, *, limit: int) -> list[DeadLetterGroup]:
        """Dead letters by what is wrong with them, the most frequent first."""
        sql, values = conjunction(dead_letter_conditions(where))
        return [
            DeadLetterGroup(
                source=source,
                status=status,
                field=field,
                reason=reason,
                count=count,
                first=first,
                last=last,
                example_id=example,
            )
            for source, status, field, reason, count, first, last, example in self._all(
                f"SELECT {GROUP_COLUMNS} FROM dead_letters {sql} {BY_GROUP}",  # noqa: S608 - constants of ours
                [*values, limit],
            )
        ]

    def audit_log(
        self, *, action: Action | None = None, subject: str | None = None, after: str | None = None, limit: int
    ) -> Page[AuditEntry]:
        """The audit log, or what it says of one action or subject; the newest line first."""
        wanted = _asked([("action = %s", action), ("subject = %s", subject)])
        if after:
            wanted.append(("id < %s", [decode_cursor(after, int)]))
        select: LiteralString = "SELECT id, at, actor, action, subject, detail FROM audit_log"
        rows = self._page(select, wanted, "ORDER BY id DESC", limit)
        lines = [
            AuditEntry(at=at, actor=actor, action=done, subject=subject, detail=detail)
            for _, at, actor, done, subject, detail in rows[:limit]
        ]
        return Page(items=lines, next_cursor=encode_cursor(rows[limit - 1][0]) if len(rows) > limit else None)

    def flows(self, where: FlowFilter, *, after: str | None, limit: int) -> Page[FlowRecord]:
        """Stories, newest ``opened_at`` first."""
        conditions: list[tuple[LiteralString, Any]] = [
            ("flow = ANY(%s)", list(where.flow) or None),
            (f"{_few(where.status)}status = ANY(%s)", list(where.status) or None),
            # The first condition is that of the index of the few that have any.
            ("issues <> '{}' AND issues && %s::text[]", list(where.issue) or None),
            # Served by the primary key, where the flow is given too.
            ("starts_with(key, %s)", where.key),
            ("opened_at >= %s", where.since),
            ("opened_at < %s", where.until),
        ]
        wanted = [(sql, [value]) for sql, value in conditions if value is not None]
        if after:
            position = decode_cursor(after, tuple[datetime, str, str])
            wanted.append(("(opened_at, flow, key) < (%s, %s, %s)", list(position)))
        rows = self._page(
            f"SELECT {FLOW_COLUMNS} FROM flow_instances",  # noqa: S608 - a constant of ours
            wanted,
            "ORDER BY opened_at DESC, flow DESC, key DESC",
            limit,
        )
        kept = [flow_from_row(row) for row in rows[:limit]]
        last = (kept[-1].opened_at, *kept[-1].identity) if len(rows) > limit else None
        return Page(items=kept, next_cursor=encode_cursor(last) if last else None)

    def flow(self, key: FlowKey) -> FlowRecord | None:
        """One story, or None."""
        rows = self._all(SELECT_FLOW, list(key))
        return flow_from_row(rows[0]) if rows else None

    def flow_counts(self, flow: str | None, *, since: datetime, until: datetime, bucket: timedelta) -> list[FlowCount]:
        """The sums of stories that began within a period, in buckets."""
        rows = self._all(SUM_FLOWS, _period(flow, since, until, bucket))
        return [count_from_row(row) for row in rows]

    def flow_sums(self, flow: str | None, *, since: datetime, until: datetime, bucket: timedelta) -> FlowSums:
        """The same sums with the position of the stream, and with what only frames without a position tell."""
        rows = self._all(SUM_FLOWS_OF_POSITION, _period(flow, since, until, bucket))
        position, untold, *_ = rows[0]
        counts = [count_from_row(count) for _, _, *count in rows if count[0] is not None]
        return FlowSums(position=position, counts=counts, untold=untold or {})

    def oldest_open(self, flows: Collection[str]) -> datetime | None:
        """When the story of these flows that has been open longest began; None when none is open."""
        ((oldest,),) = self._all(OLDEST_OPEN, [list(flows)])
        return oldest  # type: ignore[no-any-return]  # a timestamptz or NULL

    def probe(self) -> None:
        """Return if Postgres answers a query now.

        Raises:
            Retryable: it does not.
        """
        self._all("SELECT 1", [])

    def _page(
        self,
        select: LiteralString,
        wanted: list[Wanted],
        order: LiteralString,
        limit: int,
    ) -> list[TupleRow]:
        """One row more than ``limit``, if there is one, so that the end is known."""
        where, values = conjunction(wanted)
        return self._all(f"{select} {where} {order} LIMIT %s", [*values, limit + 1])

    def _all(self, query: LiteralString, parameters: list[Any] | dict[str, Any]) -> list[TupleRow]:
        with translated(), self._pool.connection() as connection:
            return connection.execute(query, parameters).fetchall()


def _period(flow: str | None, since: datetime, until: datetime, bucket: timedelta) -> dict[str, Any]:
    """The parameters of SUM_FLOWS: whole slots where the buckets are made of them, single minutes around these."""
    origin, last_slot = slot_of(since), slot_of(until)
    first_slot = origin if origin == since else origin + SLOT
    if bucket % SLOT or first_slot > last_slot:
        first_slot = last_slot = since  # all of it by the minute
    period = {"since": since, "until": until, "first_slot": first_slot, "last_slot": last_slot}
    return period | {"flow": flow, "bucket": bucket, "origin": origin}


def _few(statuses: Collection[FlowStatus]) -> LiteralString:
    """The condition of the smallest index in which all stories with these verdicts are."""
    wanted = set(statuses)
    if wanted <= {"mismatched", "incomplete"}:
        return "status IN ('mismatched', 'incomplete') AND "
    if wanted <= {"mismatched", "incomplete", "matched_late"}:
        return "issues <> '{}' AND "
    return "waiting AND " if wanted == {"open"} else ""


def events_wanted(where: EventFilter) -> list[Wanted]:
    """The conditions of a filter on ``events``."""
    return _asked(
        [
            ("source = %s", where.source),
            ("type = %s", where.type),
            ("order_id = %s", where.order_id),
            ("received_at >= %s", where.since),
            ("received_at < %s", where.until),
        ]
    )


def dead_letter_conditions(where: DeadLetterFilter) -> list[Wanted]:
    """The conditions of a filter on ``dead_letters``."""
    return _asked(
        [
            ("source = %s", where.source),
            ("status = %s", where.status),
            ("field = %s", where.field),
            ("reason = %s", where.reason),
            ("last_received_at >= %s", where.since),
            ("first_received_at < %s", where.until),
            ("(replayed_at IS NOT NULL) = %s", where.replayed),
        ]
    )


def conjunction(wanted: list[Wanted]) -> tuple[LiteralString, list[Any]]:
    """The conditions as a WHERE clause, empty without any, and the values in it."""
    sql = " AND ".join(sql for sql, _ in wanted)
    return (f"WHERE {sql}" if wanted else ""), [value for _, values in wanted for value in values]


def _asked(conditions: list[tuple[LiteralString, Any]]) -> list[Wanted]:
    return [(sql, [value]) for sql, value in conditions if value is not None]


def dead_letter_from_row(row: TupleRow) -> StoredDeadLetter:
    """The dead letter in a row of DEAD_LETTER_COLUMNS."""
    id_, first, fingerprint, source, channel, status, reason, field, body, headers, last, attempts, became, at, keys = (
        row
    )
    return StoredDeadLetter(
        id=id_,
        first_received_at=first,
        dead_letter=DeadLetter(
            fingerprint=fingerprint,
            source=source,
            channel=channel,
            status=status,
            reason=reason,
            field=field,
            body=bytes(body),
            headers=headers,
            received_at=last,
            attempts=attempts,
        ),
        replayed_as=became,
        replayed_at=at,
        replayed_keys=[(of, id_) for of, id_ in keys or []],
    )
