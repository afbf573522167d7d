"""Recoveries of missing legs: the SQL, and the conversion of the rows."""

from datetime import datetime
from typing import LiteralString

import msgspec
from psycopg.errors import ForeignKeyViolation
from psycopg.rows import TupleRow

from helios.adapters.postgres.audit import ADD_AUDIT_ENTRY, audit_columns
from helios.adapters.postgres.connection import translate_errors
from helios.adapters.postgres.flows import FLOW_COLUMNS, flow_from_row
from helios.adapters.postgres.parameters import to_json
from helios.adapters.postgres.query import Conditions, Query
from helios.model.paging import Page, decode_cursor, encode_cursor
from helios.model.recoveries import PlaceSearch, Recovery, RecoveryRequest, ended, started
from helios.model.resolutions import missing_instance
from helios.reconciliation.record import FlowKey, FlowRecord

COLUMNS: LiteralString = (
    "id, flow, key, leg, actor, is_automatic, requested_at, state, finding, found_in, detail, searches::text, ended_at"
)

ADD = f"""
INSERT INTO recoveries (flow, key, leg, actor, is_automatic, requested_at, due_at)
VALUES (%(flow)s, %(key)s, %(leg)s, %(actor)s, %(is_automatic)s, %(now)s, %(now)s)
ON CONFLICT (flow, key, leg) WHERE state = 'running' DO NOTHING
RETURNING {COLUMNS}
"""  # noqa: S608 - only a constant is filled in

# A recovery that has ended is never changed: a worker that hung may save late.
SAVE = """
UPDATE recoveries SET state = %(state)s, finding = %(finding)s, found_in = %(found_in)s, detail = %(detail)s,
    searches = %(searches)s::json, ended_at = %(ended_at)s, due_at = %(due_at)s
WHERE id = %(id)s AND state = 'running'
"""

SELECT: LiteralString = f"SELECT {COLUMNS} FROM recoveries"  # noqa: S608 - only a constant is filled in

UNTRIED = f"""
SELECT {FLOW_COLUMNS} FROM flow_instances
WHERE flow = %(flow)s AND status = 'incomplete' AND opened_at > %(opened_after)s AND opened_at <= %(opened_by)s
    AND (%(before)s::timestamptz IS NULL OR (opened_at, key) < (%(before)s, %(before_key)s))
    AND NOT EXISTS (
        SELECT FROM recoveries WHERE recoveries.flow = flow_instances.flow AND recoveries.key = flow_instances.key
    )
ORDER BY opened_at DESC, key DESC LIMIT %(limit)s
"""  # noqa: S608 - only a constant is filled in

_searches = msgspec.json.Decoder(tuple[PlaceSearch, ...])


class PostgresRecoveries(Query):
    """Implements ``Recoveries`` on a pool of connections."""

    def start(
        self, request: RecoveryRequest, *, actor: str, is_automatic: bool = False, now: datetime
    ) -> Recovery | None:
        """Store a running recovery and its audit log entry; None if one of this leg is running."""
        parameters = msgspec.structs.asdict(request) | {"actor": actor, "is_automatic": is_automatic, "now": now}
        with translate_errors(), self._pool.connection() as connection:
            try:
                rows = connection.execute(ADD, parameters).fetchall()
            except ForeignKeyViolation as error:
                raise missing_instance((request.flow, request.key)) from error
            if not rows:
                return None
            recovery = _recovery(rows[0])
            connection.execute(ADD_AUDIT_ENTRY, audit_columns(started(recovery)))
            return recovery

    def save(self, recovery: Recovery, *, due_at: datetime) -> None:
        """Store what a recovery has done so far, and its audit log entry if it has ended."""
        parameters = msgspec.structs.asdict(recovery) | {"searches": to_json(recovery.searches), "due_at": due_at}
        with translate_errors(), self._pool.connection() as connection:
            is_saved = connection.execute(SAVE, parameters).rowcount == 1
            if is_saved and recovery.ended_at:
                connection.execute(ADD_AUDIT_ENTRY, audit_columns(ended(recovery, recovery.ended_at)))

    def get(self, number: int) -> Recovery | None:
        """The recovery with this id, or None."""
        rows = self._all(f"{SELECT} WHERE id = %s", [number])
        return _recovery(rows[0]) if rows else None

    def page(self, *, instance: FlowKey | None, after: str | None, limit: int) -> Page[Recovery]:
        """A page of recoveries, or of those of one instance, the newest first."""
        conditions: list[Conditions] = []
        if instance:
            conditions.append(("flow = %s AND key = %s", list(instance)))
        if after:
            conditions.append(("id < %s", [decode_cursor(after, int)]))
        rows = self._page(SELECT, conditions, "ORDER BY id DESC", limit)
        recoveries = [_recovery(row) for row in rows[:limit]]
        return Page(items=recoveries, next_cursor=encode_cursor(recoveries[-1].id) if len(rows) > limit else None)

    def due(self, now: datetime, *, limit: int) -> list[Recovery]:
        """The running recoveries to work on now, those that have waited longest first."""
        where: LiteralString = "WHERE state = 'running' AND due_at <= %s ORDER BY due_at, id LIMIT %s"
        return [_recovery(row) for row in self._all(f"{SELECT} {where}", [now, limit])]

    def running(self) -> list[Recovery]:
        """All running recoveries."""
        return [_recovery(row) for row in self._all(f"{SELECT} WHERE state = 'running' ORDER BY id", [])]

    def automatic_since(self, flow: str, since: datetime) -> int:
        """How many recoveries the policy of a flow has started since then."""
        query: LiteralString = "SELECT count(*) FROM recoveries WHERE is_automatic AND flow = %s AND requested_at > %s"
        ((number,),) = self._all(query, [flow, since])
        return int(number)

    def untried(
        self, flow: str, *, opened_by: datetime, opened_after: datetime, before: FlowRecord | None, limit: int
    ) -> list[FlowRecord]:
        """Incomplete instances without any recovery, the last opened first."""
        parameters = {"flow": flow, "opened_by": opened_by, "opened_after": opened_after, "limit": limit}
        position = {"before": before.opened_at if before else None, "before_key": before.key if before else None}
        return [flow_from_row(row) for row in self._all(UNTRIED, parameters | position)]

    def prefix(self) -> str:
        """How the names of everything begin that a recovery of this database creates in a cloud."""
        ((prefix,),) = self._all("SELECT prefix FROM recovery_prefix", [])
        return str(prefix)


def _recovery(row: TupleRow) -> Recovery:
    number, flow, key, leg, actor, automatic, requested, state, finding, found_in, detail, searches, ended_at = row
    return Recovery(
        id=number,
        flow=flow,
        key=key,
        leg=leg,
        actor=actor,
        is_automatic=automatic,
        requested_at=requested,
        state=state,
        finding=finding,
        found_in=found_in,
        detail=detail,
        searches=_searches.decode(searches),
        ended_at=ended_at,
    )
