"""How stories lie in their table: the SQL, and a row as a FlowRecord."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from helios.reconciliation.evidence import EvidenceSet
from helios.reconciliation.record import FlowCount, FlowRecord

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
    waiting = excluded.waiting, issues = excluded.issues, version = excluded.version, details = excluded.story
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
WITH untold AS (
    SELECT status, sum(instances::bigint)::bigint AS instances
    FROM frames, json_each(body -> 'flow_statuses') AS changed (flow, statuses),
         json_each_text(statuses) AS told (status, instances)
    WHERE position IS NULL AND (%(flow)s::text IS NULL OR flow = %(flow)s) GROUP BY status
), moment AS (
    SELECT (SELECT position FROM stream), (SELECT json_object_agg(status, instances) FROM untold)
)
SELECT * FROM moment LEFT JOIN ({SUM_FLOWS}) AS sums ON true
"""  # noqa: S608 - the same

OLDEST_OPEN = """
SELECT min(oldest.opened_at) FROM unnest(%s::text[]) AS wanted (name), LATERAL (
    SELECT opened_at FROM flow_instances WHERE waiting AND flow = wanted.name AND status = 'open' ORDER BY opened_at LIMIT 1
) AS oldest
"""


class _Details(msgspec.Struct, array_like=True, gc=False):
    """What of a FlowRecord nobody searches for; in JSON an array."""

    amount: Decimal | None
    currency: str | None
    match_seconds: float | None
    clouds: int
    evidence_set: EvidenceSet


_decoder = msgspec.json.Decoder(_Details)
_encoder = msgspec.json.Encoder()


def columns(kept: Sequence[FlowRecord]) -> dict[str, str]:
    """The parameters of WRITE_FLOWS."""
    instances = [_Details(one.amount, one.currency, one.match_seconds, one.clouds, one.evidence_set) for one in kept]
    return {
        "flow": _json([one.flow for one in kept]),
        "key": _json([one.key for one in kept]),
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
    return f"{{{_json(values)[1:-1]}}}"


def _json(values: Sequence[object]) -> str:
    return msgspec.json.encode(values).decode()


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
