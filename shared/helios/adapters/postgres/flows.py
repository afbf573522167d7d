"""Flow instances and their sums: the SQL, and a row as a FlowRecord."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, LiteralString

import msgspec
import psycopg

from helios.adapters.postgres.parameters import to_json
from helios.adapters.postgres.query import Query
from helios.model.flows import Due, FlowFilter, FlowStatus
from helios.model.paging import Page, decode_cursor, encode_cursor
from helios.ports.pending import Pending
from helios.reconciliation.evaluate import AFTER
from helios.reconciliation.evidence import EvidenceSet
from helios.reconciliation.record import SLOT, FlowCount, FlowKey, FlowRecord, FlowSums, slot_of

FLOW_COLUMNS = """
flow, key, status, opened_at, waiting, issues, version, details
"""


# Sorted keys are found in one walk through the index. A key of another flow among them is one story too many.
FIND_FLOWS = f"""
SELECT {FLOW_COLUMNS} FROM flow_instances
WHERE flow = ANY(%(flows)s) AND key = ANY(ARRAY(SELECT json_array_elements_text(%(keys)s)))
"""  # noqa: S608 - only a constant of ours is filled in


# A parameter a column, because Postgres reads an array in a third of the time it needs for objects; see ``columns``.
# Rows are written, and locked, in the order in which they are given: a scan of functions knows no other, and to sort
# what is sorted costs a tenth of all this.
WRITE_FLOWS = r"""
INSERT INTO flow_instances AS kept (flow, key, status, opened_at, deferred_until, waiting, issues, version, details)
SELECT flow, key, status, opened_at, coalesce(deferred_until, '-infinity'), waiting, string_to_array(issues, ','),
       version, details
FROM ROWS FROM (
    json_array_elements_text(%(flow)s), json_array_elements_text(%(key)s), unnest(%(status)s::text[]),
    unnest(%(opened_at)s::timestamptz[]), unnest(%(deferred_until)s::timestamptz[]), unnest(%(waiting)s::boolean[]),
    unnest(%(issues)s::text[]), unnest(%(version)s::integer[]), string_to_table(%(details)s, E'\n')
) AS given (flow, key, status, opened_at, deferred_until, waiting, issues, version, details)
ON CONFLICT (flow, key) DO UPDATE SET
    status = excluded.status, opened_at = excluded.opened_at, deferred_until = excluded.deferred_until,
    waiting = excluded.waiting, issues = excluded.issues, version = excluded.version, details = excluded.details
WHERE kept.version = excluded.version - 1
"""


# Asked only where fewer were written than were given: to have each one returned costs more than all of this.
REFUSED_FLOWS = """
SELECT flow, key FROM flow_instances
WHERE flow = ANY(%(flows)s) AND key = ANY(ARRAY(SELECT json_array_elements_text(%(keys)s)))
AND xmin <> pg_current_xact_id()::xid  -- somebody else's
"""


# SKIP LOCKED: two sweeps at once share the work, and none waits for a batch that is being stored.
OVERDUE_FLOWS = f"""
SELECT instance.* FROM unnest(%(flow)s::text[], %(opened_by)s::timestamptz[], %(deferred_by)s::timestamptz[])
    AS due (name, opened_by, deferred_by),
LATERAL (
    SELECT {FLOW_COLUMNS} FROM flow_instances
    WHERE waiting AND flow = due.name AND opened_at <= due.opened_by
        AND deferred_until <= due.deferred_by
    ORDER BY opened_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
) AS instance
LIMIT %(limit)s
"""  # noqa: S608 - the same


COUNT_FLOWS = """
INSERT INTO flow_counts AS kept (minute, flow, what, value, instances, amount, seconds)
SELECT minute, flow, what, value, instances, amount, seconds
FROM json_to_recordset(%s::json) AS given (
    minute timestamptz, flow text, what text, value text, instances bigint, amount numeric, seconds double precision
)
ON CONFLICT (minute, flow, what, value) DO UPDATE SET
    instances = kept.instances + excluded.instances,
    amount = kept.amount + excluded.amount,
    seconds = kept.seconds + excluded.seconds
"""


# Ordered, as the counts are: concurrent writers of the same rows in different order deadlock.
COUNT_SLOTS = """
INSERT INTO flow_slots AS kept (slot, flow, what, value, instances, amount, seconds)
SELECT date_bin('10 minutes', minute, 'epoch') AS slot, flow, what, value, sum(instances), sum(amount), sum(seconds)
FROM json_to_recordset(%s::json) AS given (
    minute timestamptz, flow text, what text, value text, instances bigint, amount numeric, seconds double precision
)
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
ON CONFLICT (slot, flow, what, value) DO UPDATE SET
    instances = kept.instances + excluded.instances,
    amount = kept.amount + excluded.amount,
    seconds = kept.seconds + excluded.seconds
"""


SELECT_FLOW = f"SELECT {FLOW_COLUMNS} FROM flow_instances WHERE flow = %s AND key = %s"  # noqa: S608 - the same


SUM_FLOWS = """
SELECT date_bin(%(bucket)s, minute, %(origin)s), flow, what, value, sum(instances)::bigint, sum(amount), sum(seconds)
FROM (
    SELECT * FROM flow_counts
    WHERE minute >= %(since)s AND minute < %(first_slot)s OR minute >= %(last_slot)s AND minute < %(until)s
    UNION ALL
    SELECT * FROM flow_slots WHERE slot >= %(first_slot)s AND slot < %(last_slot)s
) AS sums (minute, flow, what, value, instances, amount, seconds)
WHERE %(flow)s::text IS NULL OR flow = %(flow)s
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""


# One statement, so that all of it is of one moment; there is a row even where there are no sums.
SUM_FLOWS_OF_POSITION = f"""
WITH unnumbered AS (
    SELECT status, sum(instances::bigint)::bigint AS instances
    FROM frames, json_each(body -> 'flow_statuses') AS changed (flow, statuses),
         json_each_text(statuses) AS told (status, instances)
    WHERE position IS NULL AND (%(flow)s::text IS NULL OR flow = %(flow)s) GROUP BY status
), moment AS (
    SELECT (SELECT position FROM stream), (SELECT json_object_agg(status, instances) FROM unnumbered)
)
SELECT * FROM moment LEFT JOIN ({SUM_FLOWS}) AS sums ON true
"""  # noqa: S608 - the same


OLDEST_OPEN = """
SELECT min(oldest.opened_at) FROM unnest(%s::text[]) AS given (name), LATERAL (
    SELECT opened_at FROM flow_instances
    WHERE waiting AND flow = given.name AND status = 'open' ORDER BY opened_at LIMIT 1
) AS oldest
"""


MANY = 50
"""So many stories take as long to prepare as what was begun before takes to be answered. With fewer, a round trip to a
database in another cloud takes longer than all the rest."""


class _Details(msgspec.Struct, array_like=True, gc=False):
    """What of a FlowRecord nobody searches for; in JSON an array."""

    amount: Decimal | None
    currency: str | None
    match_seconds: float | None
    clouds: int
    evidence_set: EvidenceSet


_decoder = msgspec.json.Decoder(_Details)
_encoder = msgspec.json.Encoder()


class PostgresFlowWriter:
    """Implements ``FlowWriter`` on the connection of a unit of work."""

    def __init__(self, connection: psycopg.Connection, pipeline: psycopg.Pipeline) -> None:
        self._connection = connection
        self._pipeline = pipeline

    def find(self, keys: Collection[FlowKey]) -> Pending[dict[FlowKey, FlowRecord]]:
        """Begin to read instances, without a lock; the result has those that are stored."""
        if not keys:
            return Pending(dict)
        rows = self._connection.execute(FIND_FLOWS, _identities(keys), binary=True)
        return Pending(
            lambda: {identity: flow_from_row(row) for row in rows.fetchall() if (identity := (row[0], row[1])) in keys}
        )

    def overdue(self, due: Sequence[Due], *, limit: int) -> list[FlowRecord]:
        """Lock and return instances that still wait although they are due, the first opened first."""
        parameters = {
            "flow": [one.flow for one in due],
            "opened_by": [one.opened_by for one in due],
            "deferred_by": [one.deferred_by or AFTER for one in due],
            "limit": limit,
        }
        rows = self._connection.execute(OVERDUE_FLOWS, parameters, binary=True).fetchall()
        return [flow_from_row(row) for row in rows]

    def write(self, records: Sequence[FlowRecord]) -> Pending[set[FlowKey]]:
        """Begin to write the instances that no other writer has changed since; the result is the others."""
        if not records:
            return Pending(set)
        parameters = columns(records)
        if len(records) >= MANY:
            self._pipeline.sync()
        written = self._connection.execute(WRITE_FLOWS, parameters)

        def refused() -> set[FlowKey]:
            if written.rowcount < 0:
                self._pipeline.sync()
            if written.rowcount == len(records):
                return set()
            identities = {record.identity for record in records}
            return identities & set(self._connection.execute(REFUSED_FLOWS, _identities(identities)).fetchall())

        return Pending(refused)

    def count(self, counts: Sequence[FlowCount]) -> None:
        """Add to the sums of instances."""
        parameters = (to_json(counts),)
        self._connection.execute(COUNT_FLOWS, parameters)
        self._connection.execute(COUNT_SLOTS, parameters)


class PostgresFlowReader(Query):
    """Implements ``FlowReader`` on a pool of connections."""

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
        conditions = [(sql, [value]) for sql, value in conditions if value is not None]
        if after:
            position = decode_cursor(after, tuple[datetime, str, str])
            conditions.append(("(opened_at, flow, key) < (%s, %s, %s)", list(position)))
        rows = self._page(
            f"SELECT {FLOW_COLUMNS} FROM flow_instances",  # noqa: S608 - a constant of ours
            conditions,
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
        position, unnumbered, *_ = rows[0]
        counts = [count_from_row(count) for _, _, *count in rows if count[0] is not None]
        return FlowSums(position=position, counts=counts, unnumbered=unnumbered or {})

    def oldest_open(self, flows: Collection[str]) -> datetime | None:
        """When the story of these flows that has been open longest began; None when none is open."""
        ((oldest,),) = self._all(OLDEST_OPEN, [list(flows)])
        return oldest  # type: ignore[no-any-return]  # a timestamptz or NULL


def columns(kept: Sequence[FlowRecord]) -> dict[str, str]:
    """The parameters of WRITE_FLOWS."""
    instances = [_Details(one.amount, one.currency, one.match_seconds, one.clouds, one.evidence_set) for one in kept]
    return {
        "flow": to_json([one.flow for one in kept]),
        "key": to_json([one.key for one in kept]),
        "status": _array([one.status for one in kept]),
        "opened_at": _array([one.opened_at for one in kept]),
        "deferred_until": _array([one.evidence_set.deferred_until for one in kept]),
        "waiting": _array([one.waiting for one in kept]),
        "issues": _array([",".join(one.issues) for one in kept]),
        "version": _array([one.version for one in kept]),
        # JSON on one line each: a line break within would be escaped.
        "details": _encoder.encode_lines(instances).decode().rstrip("\n"),
    }


def _array(values: Sequence[object]) -> str:
    """An array as Postgres spells it: as JSON does, where no text needs an escape."""
    return f"{{{to_json(values)[1:-1]}}}"


def flow_from_row(row: Sequence[Any]) -> FlowRecord:
    """The story in a row of FLOW_COLUMNS."""
    flow, key, status, opened_at, waiting, issues, version, text = row
    instance = _decoder.decode(text)
    return FlowRecord(
        flow=flow,
        key=key,
        status=status,
        amount=instance.amount,
        currency=instance.currency,
        opened_at=opened_at,
        match_seconds=instance.match_seconds,
        waiting=waiting,
        clouds=instance.clouds,
        issues=issues,
        version=version,
        evidence_set=instance.evidence_set,
    )


def count_from_row(row: Sequence[Any]) -> FlowCount:
    """The sum in a row of SUM_FLOWS."""
    return FlowCount(*row)


def _identities(keys: Collection[FlowKey]) -> dict[str, object]:
    """As FIND_FLOWS and REFUSED_FLOWS take them."""
    return {"flows": sorted({flow for flow, _ in keys}), "keys": to_json([key for _, key in sorted(keys)])}


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
    conditions = set(statuses)
    if conditions <= {"mismatched", "incomplete"}:
        return "status IN ('mismatched', 'incomplete') AND "
    if conditions <= {"mismatched", "incomplete", "matched_late"}:
        return "issues <> '{}' AND "
    return "waiting AND " if conditions == {"open"} else ""
