"""How stories lie in their table: the SQL, and a row as a FlowRecord."""

from collections.abc import Sequence
from typing import Any

import msgspec

from helios.reconcile.evidence import Ledger
from helios.reconcile.record import FlowCount, FlowRecord

FLOW_COLUMNS = """
flow, key, status, amount, opened_at, deadline, settled_at, updated_at, match_seconds, waiting, clouds, issues,
ledger::text
"""

_GIVEN = """
json_to_recordset(%s::json) AS given (
    flow text, key text, status text, amount numeric, opened_at timestamptz, deadline timestamptz,
    settled_at timestamptz, updated_at timestamptz, match_seconds double precision, waiting boolean, clouds smallint,
    issues text[], ledger json
)
"""

KNOWN_FLOWS = """
SELECT flow, key FROM unnest(%b::text[], %b::text[]) AS given (flow, key) JOIN flows USING (flow, key)
"""

# In the order of their keys, and so are the locks below: see ``Transaction.insert_flows``.
INSERT_FLOWS = f"""
INSERT INTO flows
    (flow, key, status, amount, opened_at, deadline, settled_at, updated_at, match_seconds, waiting, clouds, issues,
     ledger)
SELECT flow, key, status, amount, opened_at, deadline, settled_at, updated_at, match_seconds, waiting, clouds, issues,
       ledger
FROM {_GIVEN} ORDER BY flow, key
ON CONFLICT (flow, key) DO NOTHING
RETURNING flow, key
"""  # noqa: S608 - only constants of ours are filled in

LOCK_FLOWS = f"""
SELECT {FLOW_COLUMNS}
FROM unnest(%b::text[], %b::text[]) AS given (flow, key)
JOIN flows USING (flow, key)
ORDER BY flow, key FOR UPDATE OF flows
"""  # noqa: S608 - the same

WRITE_FLOWS = f"""
UPDATE flows SET
    status = given.status, amount = given.amount, opened_at = given.opened_at, deadline = given.deadline,
    settled_at = given.settled_at, updated_at = given.updated_at, match_seconds = given.match_seconds,
    waiting = given.waiting, clouds = given.clouds, issues = given.issues, ledger = given.ledger
FROM {_GIVEN}
WHERE flows.flow = given.flow AND flows.key = given.key
"""  # noqa: S608 - the same

# SKIP LOCKED: two sweeps at once share the work, and none waits for a batch that is being stored.
OVERDUE_FLOWS = f"""
SELECT {FLOW_COLUMNS} FROM flows
WHERE waiting AND deadline <= %(now)s AND flow = ANY(%(flows)s)
ORDER BY deadline LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""  # noqa: S608 - the same

COUNT_FLOWS = """
INSERT INTO flow_counts AS kept (minute, flow, what, value, stories, amount, seconds)
SELECT minute, flow, what, value, stories, amount, seconds
FROM json_to_recordset(%s::json) AS given (
    minute timestamptz, flow text, what text, value text, stories bigint, amount numeric, seconds double precision
)
ON CONFLICT (minute, flow, what, value) DO UPDATE SET
    stories = kept.stories + excluded.stories,
    amount = kept.amount + excluded.amount,
    seconds = kept.seconds + excluded.seconds
"""

SELECT_FLOW = f"SELECT {FLOW_COLUMNS} FROM flows WHERE flow = %s AND key = %s"  # noqa: S608 - the same

SUM_FLOWS = """
SELECT date_bin(%(bucket)s, minute, %(since)s), flow, what, value, sum(stories)::bigint, sum(amount), sum(seconds)
FROM flow_counts
WHERE minute >= %(since)s AND minute < %(until)s AND (%(flow)s::text IS NULL OR flow = %(flow)s)
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""

OLDEST_OPEN = """
SELECT min(opened_at) FROM flows WHERE waiting AND status = 'open' AND (%(flow)s::text IS NULL OR flow = %(flow)s)
"""

LAST_HEARD = """
SELECT source, (
    SELECT max(minute) FROM event_counts AS ledger WHERE ledger.source = known.source AND ledger.stored > 0
    AND ledger.minute >= %(since)s
) FROM (VALUES ('aws'), ('gcp'), ('azure')) AS known (source)
"""

_ledger = msgspec.json.Decoder(Ledger)


def flow_from_row(row: Sequence[Any]) -> FlowRecord:
    """The story in a row of FLOW_COLUMNS."""
    return FlowRecord(*row[:-1], ledger=_ledger.decode(row[-1]))


def count_from_row(row: Sequence[Any]) -> FlowCount:
    """The sum in a row of SUM_FLOWS."""
    return FlowCount(*row)
