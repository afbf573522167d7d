"""Flow instances and their sums: the SQL, and the conversion of the rows."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, LiteralString

import msgspec
import psycopg

from helios.adapters.postgres.parameters import to_json
from helios.adapters.postgres.query import Query, with_values
from helios.model.flows import Due, FlowFilter, FlowStatus
from helios.model.paging import Page, decode_cursor, encode_cursor
from helios.ports.pending import Pending
from helios.reconciliation.evaluate import AFTER
from helios.reconciliation.evidence import EvidenceSet
from helios.reconciliation.record import SLOT, FlowCount, FlowKey, FlowRecord, FlowSums, slot_of

FLOW_COLUMNS = """
flow, key, status, opened_at, waiting, issues, version, details
"""


# Sorted keys are found in one pass through the index. The two conditions are independent, so the result may also have a
# key in another of the flows; ``find`` drops such instances.
FIND_FLOWS = f"""
SELECT {FLOW_COLUMNS} FROM flow_instances
WHERE flow = ANY(%(flows)s) AND key = ANY(ARRAY(SELECT json_array_elements_text(%(keys)s)))
"""  # noqa: S608 - only a constant is filled in


# One parameter per column, because Postgres reads an array in a third of the time that it needs for objects; see
# ``columns``. Postgres writes and locks the rows in the order of the arrays, because a function scan returns them in
# that order. An ORDER BY would sort what is sorted already, and add a tenth to the time of the statement.
WRITE_FLOWS = r"""
INSERT INTO flow_instances AS existing (flow, key, status, opened_at, deferred_until, waiting, issues, version, details)
SELECT flow, key, status, opened_at, coalesce(deferred_until, '-infinity'), waiting, string_to_array(issues, ','),
       version, details
FROM ROWS FROM (
    json_array_elements_text(%(flow)s), json_array_elements_text(%(key)s), unnest(%(status)s::text[]),
    unnest(%(opened_at)s::timestamptz[]), unnest(%(deferred_until)s::timestamptz[]), unnest(%(waiting)s::boolean[]),
    unnest(%(issues)s::text[]), unnest(%(version)s::integer[]), string_to_table(%(details)s, E'\n')
) AS input (flow, key, status, opened_at, deferred_until, waiting, issues, version, details)
ON CONFLICT (flow, key) DO UPDATE SET
    status = excluded.status, opened_at = excluded.opened_at, deferred_until = excluded.deferred_until,
    waiting = excluded.waiting, issues = excluded.issues, version = excluded.version, details = excluded.details
WHERE existing.version = excluded.version - 1
"""


# Runs only if fewer rows were written than the batch has: returning each written row would cost more than this query.
REFUSED_FLOWS = """
SELECT flow, key FROM flow_instances
WHERE flow = ANY(%(flows)s) AND key = ANY(ARRAY(SELECT json_array_elements_text(%(keys)s)))
AND xmin <> pg_current_xact_id()::xid  -- another writer's
"""


# SKIP LOCKED: concurrent sweeps share the work, and no sweep waits for a batch in progress.
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
INSERT INTO flow_counts AS existing (minute, flow, what, value, instances, amount, seconds)
SELECT minute, flow, what, value, instances, amount, seconds
FROM json_to_recordset(%s::json) AS input (
    minute timestamptz, flow text, what text, value text, instances bigint, amount numeric, seconds double precision
)
ON CONFLICT (minute, flow, what, value) DO UPDATE SET
    instances = existing.instances + excluded.instances,
    amount = existing.amount + excluded.amount,
    seconds = existing.seconds + excluded.seconds
"""


# Sorted, as the counts are: concurrent writers of the same rows in different orders would deadlock.
COUNT_SLOTS = """
INSERT INTO flow_slots AS existing (slot, flow, what, value, instances, amount, seconds)
SELECT date_bin('10 minutes', minute, 'epoch') AS slot, flow, what, value, sum(instances), sum(amount), sum(seconds)
FROM json_to_recordset(%s::json) AS input (
    minute timestamptz, flow text, what text, value text, instances bigint, amount numeric, seconds double precision
)
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
ON CONFLICT (slot, flow, what, value) DO UPDATE SET
    instances = existing.instances + excluded.instances,
    amount = existing.amount + excluded.amount,
    seconds = existing.seconds + excluded.seconds
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


# One statement, so that all values are of one moment. There is a row even if there are no sums. ``unnumbered`` are the
# changes in frames without a position.
SUM_FLOWS_OF_POSITION = f"""
WITH unnumbered AS (
    SELECT status, sum(instances::bigint)::bigint AS instances
    FROM frames, json_each(body -> 'flow_statuses') AS flow_changes (flow, statuses),
         json_each_text(statuses) AS status_changes (status, instances)
    WHERE position IS NULL AND (%(flow)s::text IS NULL OR flow = %(flow)s) GROUP BY status
), snapshot AS (
    SELECT (SELECT position FROM stream), (SELECT json_object_agg(status, instances) FROM unnumbered)
)
SELECT * FROM snapshot LEFT JOIN ({SUM_FLOWS}) AS sums ON true
"""  # noqa: S608 - the same


OLDEST_OPEN = """
SELECT min(oldest.opened_at) FROM unnest(%s::text[]) AS flows (name), LATERAL (
    SELECT opened_at FROM flow_instances
    WHERE waiting AND flow = flows.name AND status = 'open' ORDER BY opened_at LIMIT 1
) AS oldest
"""


MIN_RECORDS_TO_SYNC = 50
"""The smallest batch for which ``write`` waits for the earlier statements first. Preparing a batch of this
size takes as long as their answers. For a smaller batch, the extra round trip to a database in another cloud would take
longer than everything else."""


class _Details(msgspec.Struct, array_like=True, gc=False):
    """The fields of a FlowRecord that no query searches; in JSON an array."""

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
            "flow": [item.flow for item in due],
            "opened_by": [item.opened_by for item in due],
            "deferred_by": [item.deferred_by or AFTER for item in due],
            "limit": limit,
        }
        rows = self._connection.execute(OVERDUE_FLOWS, parameters, binary=True).fetchall()
        return [flow_from_row(row) for row in rows]

    def write(self, records: Sequence[FlowRecord]) -> Pending[set[FlowKey]]:
        """Begin to write instances, each only if the stored version is the one before; the result is those refused."""
        if not records:
            return Pending(set)
        parameters = columns(records)
        if len(records) >= MIN_RECORDS_TO_SYNC:
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
        """A page of instances, the newest ``opened_at`` first."""
        conditions = with_values(
            [
                ("flow = ANY(%s)", list(where.flow) or None),
                (f"{_index_condition(where.status)}status = ANY(%s)", list(where.status) or None),
                # The first condition selects the small index of instances with issues.
                ("issues <> '{}' AND issues && %s::text[]", list(where.issue) or None),
                # The primary key serves this condition if the filter also names the flow.
                ("starts_with(key, %s)", where.key),
                ("opened_at >= %s", where.since),
                ("opened_at < %s", where.until),
            ]
        )
        if after:
            position = decode_cursor(after, tuple[datetime, str, str])
            conditions.append(("(opened_at, flow, key) < (%s, %s, %s)", list(position)))
        rows = self._page(
            f"SELECT {FLOW_COLUMNS} FROM flow_instances",  # noqa: S608 - only a constant is filled in
            conditions,
            "ORDER BY opened_at DESC, flow DESC, key DESC",
            limit,
        )
        records = [flow_from_row(row) for row in rows[:limit]]
        last = (records[-1].opened_at, *records[-1].identity) if len(rows) > limit else None
        return Page(items=records, next_cursor=encode_cursor(last) if last else None)

    def flow(self, key: FlowKey) -> FlowRecord | None:
        """The instance with this flow and key, or None."""
        rows = self._all(SELECT_FLOW, list(key))
        return flow_from_row(rows[0]) if rows else None

    def flow_counts(self, flow: str | None, *, since: datetime, until: datetime, bucket: timedelta) -> list[FlowCount]:
        """The sums of instances that opened from ``since`` to before ``until``, in buckets."""
        rows = self._all(SUM_FLOWS, _period(flow, since, until, bucket))
        return [count_from_row(row) for row in rows]

    def flow_sums(self, flow: str | None, *, since: datetime, until: datetime, bucket: timedelta) -> FlowSums:
        """The same sums, with the position of the stream and the changes in frames without a position."""
        rows = self._all(SUM_FLOWS_OF_POSITION, _period(flow, since, until, bucket))
        position, unnumbered, *_ = rows[0]
        counts = [count_from_row(count) for _, _, *count in rows if count[0] is not None]
        return FlowSums(position=position, counts=counts, unnumbered=unnumbered or {})

    def oldest_open(self, flows: Collection[str]) -> datetime | None:
        """When the oldest open instance of these flows was opened; None when none is open."""
        ((oldest,),) = self._all(OLDEST_OPEN, [list(flows)])
        return oldest  # type: ignore[no-any-return]  # a timestamptz or NULL


def columns(records: Sequence[FlowRecord]) -> dict[str, str]:
    """The parameters of WRITE_FLOWS."""
    details = [
        _Details(record.amount, record.currency, record.match_seconds, record.clouds, record.evidence_set)
        for record in records
    ]
    return {
        "flow": to_json([record.flow for record in records]),
        "key": to_json([record.key for record in records]),
        "status": _array([record.status for record in records]),
        "opened_at": _array([record.opened_at for record in records]),
        "deferred_until": _array([record.evidence_set.deferred_until for record in records]),
        "waiting": _array([record.waiting for record in records]),
        "issues": _array([",".join(record.issues) for record in records]),
        "version": _array([record.version for record in records]),
        # One line of JSON per instance. JSON escapes the line breaks within a value.
        "details": _encoder.encode_lines(details).decode().rstrip("\n"),
    }


def _array(values: Sequence[object]) -> str:
    """An array in the syntax of Postgres, which equals that of JSON because no value here needs an escape."""
    return f"{{{to_json(values)[1:-1]}}}"


def flow_from_row(row: Sequence[Any]) -> FlowRecord:
    """The flow instance in a row of FLOW_COLUMNS."""
    flow, key, status, opened_at, waiting, issues, version, text = row
    details = _decoder.decode(text)
    return FlowRecord(
        flow=flow,
        key=key,
        status=status,
        amount=details.amount,
        currency=details.currency,
        opened_at=opened_at,
        match_seconds=details.match_seconds,
        waiting=waiting,
        clouds=details.clouds,
        issues=issues,
        version=version,
        evidence_set=details.evidence_set,
    )


def count_from_row(row: Sequence[Any]) -> FlowCount:
    """The sum in a row of SUM_FLOWS."""
    return FlowCount(*row)


def _identities(keys: Collection[FlowKey]) -> dict[str, object]:
    """The parameters of FIND_FLOWS and REFUSED_FLOWS."""
    return {"flows": sorted({flow for flow, _ in keys}), "keys": to_json([key for _, key in sorted(keys)])}


def _period(flow: str | None, since: datetime, until: datetime, bucket: timedelta) -> dict[str, Any]:
    """The parameters of SUM_FLOWS: whole slots if the buckets consist of slots, and single minutes at both ends."""
    origin, last_slot = slot_of(since), slot_of(until)
    first_slot = origin if origin == since else origin + SLOT
    if bucket % SLOT or first_slot > last_slot:
        first_slot = last_slot = since  # read all of the period by the minute
    period = {"since": since, "until": until, "first_slot": first_slot, "last_slot": last_slot}
    return period | {"flow": flow, "bucket": bucket, "origin": origin}


def _index_condition(statuses: Collection[FlowStatus]) -> LiteralString:
    """The condition of the smallest partial index with all instances that have one of these statuses."""
    conditions = set(statuses)
    if conditions <= {"mismatched", "incomplete"}:
        return "status IN ('mismatched', 'incomplete') AND "
    if conditions <= {"mismatched", "incomplete", "matched_late"}:
        return "issues <> '{}' AND "
    return "waiting AND " if conditions == {"open"} else ""
