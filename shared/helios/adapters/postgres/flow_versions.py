"""The versions of flows, and the recomputes that approvals start: the SQL, and the conversion of the rows."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, LiteralString

import psycopg
from psycopg.rows import TupleRow

from helios.adapters.postgres.audit import ADD_AUDIT_ENTRY, audit_columns
from helios.adapters.postgres.connection import translate_errors
from helios.adapters.postgres.query import Conditions, Query
from helios.model.audit import Action
from helios.model.flow_versions import (
    FlowVersion,
    InForce,
    Recompute,
    RecomputeProgress,
    audit_entry,
    check_approvable,
    check_based_on,
    check_withdrawable,
)
from helios.model.paging import Page, decode_cursor, encode_cursor

# People change versions one at a time, so that each knows the state before it.
LOCK: LiteralString = "SELECT pg_advisory_xact_lock(4869532077)"

# The lock that assert_generation shares. Writers queue behind this one, so it must not wait for a writer that hangs.
LOCK_WRITERS: LiteralString = "SELECT pg_advisory_xact_lock(4869532076)"
LIMIT_WAIT: LiteralString = "SELECT set_config('lock_timeout', '2s', true)"

COLUMNS: LiteralString = """
flow, version, state, text, saved_at, saved_by, previewed_at, previewed_by, approved_at, approved_by,
withdrawn_at, withdrawn_by, events, instances, started_at, finished_at
"""

SELECT: LiteralString = f"SELECT {COLUMNS} FROM flow_versions LEFT JOIN flow_recomputes USING (flow, version)"  # noqa: S608 - only a constant is filled in

SELECT_CURRENT = f"""
{SELECT}
WHERE state IN ('in_force', 'draft')
    OR version = (SELECT max(version) FROM flow_versions AS other WHERE other.flow = flow_versions.flow)
ORDER BY flow, version
"""  # noqa: S608 - the same

SELECT_VERSION = f"{SELECT} WHERE flow = %s AND version = %s"

SELECT_LATEST = f"{SELECT} WHERE flow = %s ORDER BY version DESC LIMIT 1"

# One statement, so that the generation and the versions are of one moment.
IN_FORCE = """
SELECT number, flow, text FROM flow_generation LEFT JOIN flow_versions ON state = 'in_force' ORDER BY flow
"""

REPLACE_DRAFT = "UPDATE flow_versions SET state = 'replaced' WHERE flow = %s AND state = 'draft'"

ADD = """
INSERT INTO flow_versions (flow, version, state, text, saved_at, saved_by) VALUES (%s, %s, 'draft', %s, %s, %s)
"""

MARK_PREVIEWED = "UPDATE flow_versions SET previewed_at = %s, previewed_by = %s WHERE flow = %s AND version = %s"

SUPERSEDE = "UPDATE flow_versions SET state = 'superseded' WHERE flow = %s AND state = 'in_force'"

PUT_IN_FORCE = """
UPDATE flow_versions SET state = 'in_force', approved_at = %s, approved_by = %s WHERE flow = %s AND version = %s
"""

WITHDRAW = """
UPDATE flow_versions SET state = 'withdrawn', withdrawn_at = %s, withdrawn_by = %s WHERE flow = %s AND version = %s
"""

# No sweep evaluates them any more, and retention removes only instances that do not wait.
END_WAITING = "UPDATE flow_instances SET waiting = false, version = version + 1 WHERE flow = %s AND waiting"

# A flow that was withdrawn can be in force again, or be declared by a file. An array, so that the index is searched for
# these flows alone: most of the time there is none.
END_WAITING_OF_WITHDRAWN = """
UPDATE flow_instances SET waiting = false, version = version + 1
WHERE waiting AND flow = ANY(ARRAY(
    SELECT flow FROM flow_versions WHERE flow <> ALL(%s) GROUP BY flow
    HAVING bool_or(state = 'withdrawn') AND NOT bool_or(state = 'in_force')
))
"""

NEXT_GENERATION = "UPDATE flow_generation SET number = number + 1"

START_RECOMPUTE = "INSERT INTO flow_recomputes (flow, version, started_at) VALUES (%s, %s, %s)"

UNFINISHED = """
SELECT flow, version, cursor FROM flow_recomputes JOIN flow_versions USING (flow, version)
WHERE finished_at IS NULL AND state = 'in_force' ORDER BY started_at
"""

ADVANCE = """
UPDATE flow_recomputes SET cursor = %(cursor)s, events = events + %(events)s, instances = instances + %(instances)s,
    finished_at = CASE WHEN %(cursor)s::text IS NULL THEN %(now)s END
WHERE flow = %(flow)s AND version = %(version)s AND finished_at IS NULL AND cursor IS NOT DISTINCT FROM %(before)s
"""


def begin_generation(connection: psycopg.Connection) -> None:
    """Wait for every batch that is committing, and refuse those of earlier generations from this transaction on.

    Raises:
        LockNotAvailable: a writer does not commit in time.
    """
    connection.execute(LIMIT_WAIT)
    connection.execute(LOCK_WRITERS)
    connection.execute(NEXT_GENERATION)


class PostgresFlowVersions(Query):
    """Implements ``FlowVersions`` and ``Recomputes`` on a pool of connections."""

    def in_force(self) -> InForce:
        """The versions in force, and their generation, of one moment."""
        rows = self._all(IN_FORCE, [])
        return InForce(generation=rows[0][0], texts={flow: text for _, flow, text in rows if flow is not None})

    def current(self) -> Sequence[FlowVersion]:
        """Of each flow: the version in force, the draft and the latest version; sorted by flow and version."""
        return [_version(row) for row in self._all(SELECT_CURRENT, [])]

    def versions(self, flow: str, *, after: str | None, limit: int) -> Page[FlowVersion]:
        """A page of the versions of a flow, the newest first."""
        conditions: list[Conditions] = [("flow = %s", [flow])]
        if after:
            conditions.append(("version < %s", [decode_cursor(after, int)]))
        rows = self._page(SELECT, conditions, "ORDER BY version DESC", limit)
        versions = [_version(row) for row in rows[:limit]]
        return Page(items=versions, next_cursor=encode_cursor(versions[-1].version) if len(rows) > limit else None)

    def version(self, flow: str, number: int) -> FlowVersion | None:
        """One version, or None."""
        rows = self._all(SELECT_VERSION, [flow, number])
        return _version(rows[0]) if rows else None

    def save(self, flow: str, text: str, *, based_on: int | None, actor: str, now: datetime) -> FlowVersion:
        """Save a draft, which replaces an earlier draft, with its entry in the audit log."""
        with translate_errors(), self._pool.connection() as connection, connection.transaction():
            connection.execute(LOCK)
            rows = connection.execute(SELECT_LATEST, [flow]).fetchall()
            latest = _version(rows[0]) if rows else None
            check_based_on(latest, based_on)
            number = latest.version + 1 if latest else 1
            connection.execute(REPLACE_DRAFT, [flow])
            connection.execute(ADD, [flow, number, text, now, actor])
            return _changed(connection, flow, number, "flow_version_saved", actor, now)

    def mark_previewed(self, flow: str, number: int, *, actor: str, now: datetime) -> FlowVersion | None:
        """Record that a version was previewed, with an entry in the audit log; None: there is no such version."""
        with translate_errors(), self._pool.connection() as connection, connection.transaction():
            if not connection.execute(MARK_PREVIEWED, [now, actor, flow, number]).rowcount:
                return None
            return _changed(connection, flow, number, "flow_version_previewed", actor, now)

    def approve(self, flow: str, number: int, *, actor: str, now: datetime) -> FlowVersion | None:
        """Put a draft in force in place of the version before, and start its recompute; None: no such version."""
        with translate_errors(), self._pool.connection() as connection, connection.transaction():
            connection.execute(LOCK)
            rows = connection.execute(SELECT_VERSION, [flow, number]).fetchall()
            if not rows:
                return None
            check_approvable(_version(rows[0]))
            begin_generation(connection)
            connection.execute(SUPERSEDE, [flow])
            connection.execute(PUT_IN_FORCE, [now, actor, flow, number])
            connection.execute(START_RECOMPUTE, [flow, number, now])
            return _changed(connection, flow, number, "flow_version_approved", actor, now)

    def withdraw(self, flow: str, number: int, *, actor: str, now: datetime) -> FlowVersion | None:
        """End a flow by withdrawing its version in force; None: no such version."""
        with translate_errors(), self._pool.connection() as connection, connection.transaction():
            connection.execute(LOCK)
            rows = connection.execute(SELECT_VERSION, [flow, number]).fetchall()
            if not rows:
                return None
            check_withdrawable(_version(rows[0]))
            begin_generation(connection)
            connection.execute(WITHDRAW, [now, actor, flow, number])
            connection.execute(END_WAITING, [flow])
            return _changed(connection, flow, number, "flow_version_withdrawn", actor, now)

    def unfinished(self) -> Sequence[Recompute]:
        """The recomputes of versions in force that have not finished, the first started first."""
        return [Recompute(flow=flow, version=version, cursor=cursor) for flow, version, cursor in self._unfinished()]

    def advance(self, recompute: Recompute, *, cursor: str | None, events: int, instances: int, now: datetime) -> bool:
        """Record that a page was evaluated; without a cursor for the next one, the recompute has finished."""
        parameters = {
            "flow": recompute.flow,
            "version": recompute.version,
            "before": recompute.cursor,
            "cursor": cursor,
            "events": events,
            "instances": instances,
            "now": now,
        }
        with translate_errors(), self._pool.connection() as connection:
            return connection.execute(ADVANCE, parameters).rowcount == 1

    def end_waiting(self, judged: Collection[str]) -> int:
        """Let no instance of a withdrawn flow wait, unless its flow is still judged, and return how many did."""
        with translate_errors(), self._pool.connection() as connection:
            return connection.execute(END_WAITING_OF_WITHDRAWN, [list(judged)]).rowcount

    def _unfinished(self) -> list[TupleRow]:
        return self._all(UNFINISHED, [])


def _changed(
    connection: psycopg.Connection, flow: str, number: int, action: Action, actor: str, now: datetime
) -> FlowVersion:
    """The version after a change, whose entry is added to the audit log."""
    version = _version(connection.execute(SELECT_VERSION, [flow, number]).fetchall()[0])
    connection.execute(ADD_AUDIT_ENTRY, audit_columns(audit_entry(action, version, actor=actor, at=now)))
    return version


def _version(row: Sequence[Any]) -> FlowVersion:
    flow, version, state, text, saved_at, saved_by, previewed_at, previewed_by, approved_at, approved_by = row[:10]
    withdrawn_at, withdrawn_by, events, instances, started_at, finished_at = row[10:]
    return FlowVersion(
        flow=flow,
        version=version,
        state=state,
        text=text,
        saved_at=saved_at,
        saved_by=saved_by,
        previewed_at=previewed_at,
        previewed_by=previewed_by,
        approved_at=approved_at,
        approved_by=approved_by,
        withdrawn_at=withdrawn_at,
        withdrawn_by=withdrawn_by,
        recompute=RecomputeProgress(events=events, instances=instances, started_at=started_at, finished_at=finished_at)
        if started_at
        else None,
    )
