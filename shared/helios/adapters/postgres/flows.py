"""Flow instances and their sums: the SQL, and the conversion of the rows."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, LiteralString

import msgspec
import psycopg

from helios.adapters.postgres.connection import translate_errors
from helios.adapters.postgres.parameters import to_json
from helios.adapters.postgres.query import Conditions, Query, with_values
from helios.model.flows import Due, FlowFilter, FlowStatus, IssueKind
from helios.model.paging import Page, decode_cursor, encode_cursor
from helios.ports.pending import Pending
from helios.reconciliation.evaluate import AFTER
from helios.reconciliation.evidence import EvidenceSet
from helios.reconciliation.record import SLOT, FlowCount, FlowKey, FlowRecord, FlowSums, slot_of

FLOW_COLUMNS = """
flow, key, status, opened_at, waiting, issues, version, details
"""

# For a query of several tables.
FLOW_COLUMNS_OF_INSTANCES: LiteralString = """
flow_instances.flow, flow_instances.key, status, opened_at, waiting, issues, flow_instances.version, details
"""


# Sorted keys are found in one pass through the index. The two conditions are independent, so the result may also have a
# key in another of the flows; ``find`` drops such instances.
FIND_FLOWS = f"""
SELECT {FLOW_COLUMNS} FROM flow_instances
WHERE flow = ANY(%(flows)s) AND key = ANY(ARRAY(SELECT json_array_elements_text(%(keys)s)))
"""  # noqa: S608 - only a constant is filled in


def _write(rows: str) -> str:
    """The statement that writes these rows, each only if the stored version is the one before."""
    return f"""
INSERT INTO flow_instances AS existing (flow, key, status, opened_at, deferred_until, waiting, issues, version, details)
SELECT flow, key, status, opened_at, coalesce(deferred_until, '-infinity'), waiting, string_to_array(issues, ','),
       version, details
FROM {rows} AS input (flow, key, status, opened_at, deferred_until, waiting, issues, version, details)
ON CONFLICT (flow, key) DO UPDATE SET
    status = excluded.status, opened_at = excluded.opened_at, deferred_until = excluded.deferred_until,
    waiting = excluded.waiting, issues = excluded.issues, version = excluded.version, details = excluded.details
WHERE existing.version = excluded.version - 1
"""  # noqa: S608 - only constants are filled in


# One parameter per column, because Postgres reads an array in a third of the time that it needs for objects; see
# ``columns``. Postgres writes and locks the rows in the order of the arrays, because a function scan returns them in
# that order. An ORDER BY would sort what is sorted already, and add a tenth to the time of the statement.
WRITE_FLOWS = _write(r"""ROWS FROM (
    json_array_elements_text(%(flow)s), json_array_elements_text(%(key)s), unnest(%(status)s::text[]),
    unnest(%(opened_at)s::timestamptz[]), unnest(%(deferred_until)s::timestamptz[]), unnest(%(waiting)s::boolean[]),
    unnest(%(issues)s::text[]), unnest(%(version)s::integer[]), string_to_table(%(details)s, E'\n')
)""")


# Of a single instance, without the nine function scans; see ``values``.
WRITE_FLOW = _write("""(VALUES (
    %(flow)s::text, %(key)s::text, %(status)s::text, %(opened_at)s::timestamptz, %(deferred_until)s::timestamptz,
    %(waiting)s::boolean, %(issues)s::text, %(version)s::integer, %(details)s::text
))""")


# Of a single instance, which is stored already. It may have been removed since it was read, and other events may have
# begun it again, up to the same version.
UPDATE_FLOW = """
UPDATE flow_instances SET
    status = %(status)s, opened_at = %(opened_at)s,
    deferred_until = coalesce(%(deferred_until)s::timestamptz, '-infinity'), waiting = %(waiting)s,
    issues = string_to_array(%(issues)s, ','), version = %(version)s, details = %(details)s
WHERE flow = %(flow)s AND key = %(key)s AND version = %(version)s - 1 AND opened_at = %(opened_before)s
"""


# Writes all of the instances, or fails the transaction. For few rows, RETURNING costs less than a round trip.
WRITE_ALL_FLOWS = f"""
WITH written AS ({WRITE_FLOWS} RETURNING 1)
SELECT assert_written(count(*), %(expected)s) FROM written
"""  # noqa: S608 - only a constant is filled in


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


_OF_INSTANCE: LiteralString = """
FROM resolutions WHERE resolutions.flow = flow_instances.flow AND resolutions.key = flow_instances.key
"""

# A decision holds for later versions too if a deadline alone has made them: then ``_Details`` still says so.
REOPENED: LiteralString = """
(resolutions.version < flow_instances.version AND (details::json ->> 6)::boolean IS NOT TRUE)
"""

RESOLUTION_STATE: LiteralString = f"""
SELECT coalesce((SELECT CASE WHEN {REOPENED} THEN 'reopened' ELSE decision END {_OF_INSTANCE}), 'unresolved')
"""

ASSIGNEE: LiteralString = f"SELECT assignee {_OF_INSTANCE}"


SELECT_FLOW = f"SELECT {FLOW_COLUMNS} FROM flow_instances WHERE flow = %s AND key = %s"  # noqa: S608 - the same


SUM_FLOWS = """
SELECT date_bin(%(bucket)s, minute, %(origin)s), flow, what, value, sum(instances)::bigint, sum(amount), sum(seconds)
FROM (
    SELECT * FROM flow_counts
    WHERE minute >= %(since)s AND minute < %(first_slot)s OR minute >= %(last_slot)s AND minute < %(until)s
    UNION ALL
    SELECT * FROM flow_slots WHERE slot >= %(first_slot)s AND slot < %(last_slot)s
    UNION ALL
    SELECT * FROM waiting_flow_counts WHERE NOT %(only_numbered)s AND minute >= %(since)s AND minute < %(until)s
) AS sums (minute, flow, what, value, instances, amount, seconds)
WHERE %(flows)s::text[] IS NULL OR flow = ANY(%(flows)s)
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""


# One statement, so that the position and the sums are of one moment. There is a row even if there are no sums.
SUM_FLOWS_OF_POSITION = f"SELECT * FROM (SELECT position FROM stream) AS latest LEFT JOIN ({SUM_FLOWS}) AS sums ON true"  # noqa: S608 - the same


OLDEST_OPEN = """
SELECT min(oldest.opened_at) FROM unnest(%s::text[]) AS flows (name), LATERAL (
    SELECT opened_at FROM flow_instances
    WHERE waiting AND flow = flows.name AND status = 'open' ORDER BY opened_at LIMIT 1
) AS oldest
"""


SAMPLE_MARGIN = 1.2
"""How many more pages are read for a sample than it needs if all pages have as many of the instances."""


# An index alone answers the counts. Problems are few, and have an index of their own; of all instances, a part of the
# pages is read, because sorting a million keys by chance takes longer than evaluating thousands of instances.
_OPENED: LiteralString = "FROM flow_instances WHERE flow = %s AND opened_at >= %s AND opened_at < %s"
_PROBLEMS: LiteralString = "AND status IN ('mismatched', 'incomplete')"
COUNT_OPENED: dict[bool, LiteralString] = {
    False: f"SELECT count(*) {_OPENED}",
    True: f"SELECT count(*) {_OPENED} {_PROBLEMS}",
}
_SAMPLED: LiteralString = "WHERE flow = %(flow)s AND opened_at >= %(since)s AND opened_at < %(until)s"
_AT_RANDOM: LiteralString = "ORDER BY random() LIMIT %(limit)s"
SAMPLE_OPENED: dict[bool, LiteralString] = {
    False: f"SELECT key FROM flow_instances TABLESAMPLE SYSTEM (%(percent)s) {_SAMPLED} {_AT_RANDOM}",  # noqa: S608
    True: f"SELECT key FROM flow_instances {_SAMPLED} {_PROBLEMS} {_AT_RANDOM}",  # noqa: S608 - the same
}


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
    causes: tuple[str, ...] = ()
    resolved: bool = False


_decoder = msgspec.json.Decoder(_Details)
_encoder = msgspec.json.Encoder()
_rows = msgspec.json.Decoder(list[tuple[str, str, FlowStatus, datetime, bool, list[IssueKind], int, str]])


class PostgresFlowWriter:
    """Implements ``FlowWriter`` on the connection of a unit of work."""

    def __init__(self, connection: psycopg.Connection, pipeline: psycopg.Pipeline) -> None:
        self._connection = connection
        self._pipeline = pipeline

    def find(self, keys: Collection[FlowKey]) -> Pending[dict[FlowKey, FlowRecord]]:
        """Begin to read instances, without a lock; the result has those that are stored."""
        if not keys:
            return Pending(dict)
        return find_flows(self._connection, keys)

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

    def write_all(self, records: Sequence[FlowRecord]) -> None:
        """Begin to write instances, each only if the stored version is the one before; otherwise all of it fails."""
        if records:
            self._connection.execute(WRITE_ALL_FLOWS, columns(records) | {"expected": len(records)})


def find_flows(connection: psycopg.Connection, keys: Collection[FlowKey]) -> Pending[dict[FlowKey, FlowRecord]]:
    """Begin to read instances, without a lock; the result has those that are stored."""
    if len(keys) == 1:
        rows = connection.execute(SELECT_FLOW, *keys, binary=True)
    else:
        rows = connection.execute(FIND_FLOWS, _identities(keys), binary=True)
    return Pending(
        lambda: {identity: flow_from_row(row) for row in rows.fetchall() if (identity := (row[0], row[1])) in keys}
    )


class PostgresFlowReader(Query):
    """Implements ``FlowReader`` on a pool of connections."""

    def flows(self, where: FlowFilter, *, after: str | None, limit: int) -> Page[FlowRecord]:
        """A page of instances, the newest ``opened_at`` first."""
        conditions = flow_conditions(where)
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

    def flow_counts(
        self, flows: Collection[str] | None, *, since: datetime, until: datetime, bucket: timedelta
    ) -> list[FlowCount]:
        """The sums of instances that opened from ``since`` to before ``until``, in buckets."""
        rows = self._all(SUM_FLOWS, _period(flows, since, until, bucket) | {"only_numbered": False})
        return [count_from_row(row) for row in rows]

    def flow_sums(
        self, flows: Collection[str] | None, *, since: datetime, until: datetime, bucket: timedelta
    ) -> FlowSums:
        """The sums at the latest position of the stream: without the frames that have no position."""
        period = _period(flows, since, until, bucket) | {"only_numbered": True}
        rows = self._all(SUM_FLOWS_OF_POSITION, period)
        counts = [count_from_row(count) for _, *count in rows if count[0] is not None]
        return FlowSums(position=rows[0][0], counts=counts)

    def count(self, flow: str, *, since: datetime, until: datetime, problems: bool) -> int:
        """The number of instances that opened in a period."""
        with translate_errors(), self._pool.connection() as connection, connection.transaction():
            # The planner takes the table where it takes most rows to match, and the table is fifty times the index.
            connection.execute("SET LOCAL enable_seqscan = off")
            ((number,),) = connection.execute(COUNT_OPENED[problems], [flow, since, until]).fetchall()
        return int(number)

    def sample(
        self, flow: str, *, since: datetime, until: datetime, problems: bool, among: int, limit: int
    ) -> list[FlowKey]:
        """A random sample of these instances, in random order."""
        period = {"flow": flow, "since": since, "until": until, "limit": limit}
        percent = min(100.0, SAMPLE_MARGIN * 100 * limit / max(1, among))
        rows = self._all(SAMPLE_OPENED[problems], period | {"percent": percent})
        return [(flow, key) for (key,) in rows]

    def oldest_open(self, flows: Collection[str]) -> datetime | None:
        """When the oldest open instance of these flows was opened; None when none is open."""
        ((oldest,),) = self._all(OLDEST_OPEN, [list(flows)])
        return oldest  # type: ignore[no-any-return]  # a timestamptz or NULL


def flow_conditions(where: FlowFilter) -> list[Conditions]:
    """The SQL conditions of a filter on ``flow_instances``."""
    return with_values(
        [
            ("flow = ANY(%s)", list(where.flow) or None),
            (f"{_index_condition(where.status)}status = ANY(%s)", list(where.status) or None),
            # The first condition selects the small index of instances with issues.
            ("issues <> '{}' AND issues && %s::text[]", list(where.issue) or None),
            # The primary key serves this condition if the filter also names the flow.
            ("starts_with(key, %s)", where.key),
            # The causes are a part of ``_Details``.
            ("(details::json -> 5)::jsonb ? %s", where.cause),
            (f"({RESOLUTION_STATE}) = ANY(%s)", list(where.resolution) or None),
            (f"({ASSIGNEE}) = %s", where.assignee),
            ("opened_at >= %s", where.since),
            ("opened_at < %s", where.until),
        ]
    )


def values(record: FlowRecord) -> dict[str, object]:
    """The parameters of WRITE_FLOW."""
    return {
        "flow": record.flow,
        "key": record.key,
        "status": record.status,
        "opened_at": record.opened_at,
        "deferred_until": record.evidence_set.deferred_until,
        "waiting": record.waiting,
        "issues": ",".join(record.issues),
        "version": record.version,
        "details": _encoder.encode(_details(record)).decode(),
    }


def columns(records: Sequence[FlowRecord]) -> dict[str, object]:
    """The parameters of WRITE_FLOWS."""
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
        "details": _encoder.encode_lines([_details(record) for record in records]).decode().rstrip("\n"),
    }


def _details(record: FlowRecord) -> _Details:
    return _Details(
        record.amount,
        record.currency,
        record.match_seconds,
        record.clouds,
        record.evidence_set,
        record.causes,
        record.resolved,
    )


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
        causes=details.causes,
        resolved=details.resolved,
    )


def flows_from_json(text: str) -> dict[FlowKey, FlowRecord]:
    """The flow instances that ``assert_instances`` sends: an array of FLOW_COLUMNS each."""
    return {record.identity: record for record in map(flow_from_row, _rows.decode(text))}


def count_from_row(row: Sequence[Any]) -> FlowCount:
    """The sum in a row of SUM_FLOWS."""
    return FlowCount(*row)


def _identities(keys: Collection[FlowKey]) -> dict[str, object]:
    """The parameters of FIND_FLOWS and REFUSED_FLOWS."""
    return {"flows": sorted({flow for flow, _ in keys}), "keys": to_json([key for _, key in sorted(keys)])}


def _period(flows: Collection[str] | None, since: datetime, until: datetime, bucket: timedelta) -> dict[str, Any]:
    """The parameters of SUM_FLOWS: whole slots if the buckets consist of slots, and single minutes at both ends."""
    origin, last_slot = slot_of(since), slot_of(until)
    first_slot = origin if origin == since else origin + SLOT
    if bucket % SLOT or first_slot > last_slot:
        first_slot = last_slot = since  # read all of the period by the minute
    period = {"since": since, "until": until, "first_slot": first_slot, "last_slot": last_slot}
    names = None if flows is None else list(flows)
    return period | {"flows": names, "bucket": bucket, "origin": origin}


def _index_condition(statuses: Collection[FlowStatus]) -> LiteralString:
    """The condition of the smallest partial index with all instances that have one of these statuses."""
    conditions = set(statuses)
    if conditions <= {"mismatched", "incomplete"}:
        return "status IN ('mismatched', 'incomplete') AND "
    if conditions <= {"mismatched", "incomplete", "matched_late"}:
        return "issues <> '{}' AND "
    return "waiting AND " if conditions == {"open"} else ""
