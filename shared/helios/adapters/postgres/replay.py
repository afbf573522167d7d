"""Replay jobs in Postgres, and the events and dead letters that they send."""

from contextlib import AbstractContextManager
from datetime import datetime
from typing import LiteralString

import msgspec
from psycopg.rows import TupleRow

from helios.adapters.postgres.audit import ADD_AUDIT_ENTRY, audit_columns
from helios.adapters.postgres.connection import Pool, translate_errors
from helios.adapters.postgres.dead_letters import DEAD_LETTER_COLUMNS, dead_letter_conditions, dead_letter_from_row
from helios.adapters.postgres.events import EVENT_COLUMNS, IN_ORDER, event_conditions, event_from_row
from helios.adapters.postgres.leases import PostgresLeases
from helios.adapters.postgres.parameters import to_json
from helios.adapters.postgres.query import Conditions, Query, conjunction
from helios.model.dead_letters import StoredDeadLetter
from helios.model.events import Event
from helios.model.paging import Page, decode_cursor, encode_cursor
from helios.model.replay import (
    MAX_EXAMPLES,
    Checkpoint,
    Matching,
    ReplayFilter,
    ReplayJob,
    ReplayRequest,
    State,
    What,
    ended,
    started,
)
from helios.ports.leases import Lease

LEASE = "replay"
"""The lease of the process that works on the jobs."""

_COLUMNS = """
id, what, filter::text, target::text, per_second, actor, state, created_at, finished_at, matching, checkpoint::text,
sent, failed, skipped, last_error
"""

_ADD = f"""
INSERT INTO replay_jobs (what, filter, target, per_second, actor, state, created_at, matching)
VALUES (%s, %s::json, %s::json, %s, %s, 'running', %s, %s)
RETURNING {_COLUMNS}
"""  # noqa: S608 - only a constant is filled in

_SELECT: LiteralString = f"SELECT {_COLUMNS} FROM replay_jobs"  # noqa: S608 - the same

# Updates the checkpoint only if it is unchanged, so that a worker that has lost the lease unnoticed can't move it back.
_ADVANCE = """
UPDATE replay_jobs SET checkpoint = %s::jsonb, sent = %s, failed = %s, skipped = %s, last_error = %s
WHERE id = %s AND state = 'running' AND checkpoint IS NOT DISTINCT FROM %s::jsonb
"""

_END = f"""
UPDATE replay_jobs SET state = %s, finished_at = %s, last_error = coalesce(%s, last_error)
WHERE id = %s AND state = 'running'
RETURNING {_COLUMNS}
"""  # noqa: S608 - the same


class PostgresReplayJobs(Query):
    """Implements ``ReplayJobs`` on a pool of connections."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self._leases = PostgresLeases(pool)

    def matching(self, what: What, where: ReplayFilter) -> Matching:
        """The number, period and examples of what a job would send now."""
        if what == "events":
            table, conditions = "events", event_conditions(where.events())
            first: LiteralString = "SELECT source || '/' || id FROM events"
            order: LiteralString = f"ORDER BY {IN_ORDER}"
            moment: LiteralString = "received_at"
        else:
            table, conditions = "dead_letters", dead_letter_conditions(where.dead_letters())
            first, order, moment = "SELECT id::text AS shown FROM dead_letters", "ORDER BY id", "first_received_at"
        sql, values = conjunction(conditions)
        count = f"SELECT count(*), min({moment}), max({moment}) FROM {table} {sql}"  # noqa: S608 - only constants are filled in
        with translate_errors(), self._pool.connection() as connection:
            number, oldest, newest = connection.execute(count, values).fetchone() or (0, None, None)
            rows = connection.execute(f"{first} {sql} {order} LIMIT %s", [*values, MAX_EXAMPLES]).fetchall()
        return Matching(matching=number, oldest=oldest, newest=newest, examples=[shown for (shown,) in rows])

    def add(self, request: ReplayRequest, *, actor: str, matching: int, now: datetime) -> ReplayJob:
        """Store a running job, with its entry in the audit log."""
        parameters = (
            request.what,
            to_json(request.filter),
            to_json(request.target),
            request.per_second,
            actor,
            now,
            matching,
        )
        with translate_errors(), self._pool.connection() as connection, connection.transaction():
            row = connection.execute(_ADD, parameters).fetchone()
            if row is None:
                raise AssertionError("INSERT ... RETURNING returned no row")
            job = _job(row)
            connection.execute(ADD_AUDIT_ENTRY, audit_columns(started(job)))
        return job

    def get(self, number: int) -> ReplayJob | None:
        """The job with this id, or None."""
        rows = self._all(f"{_SELECT} WHERE id = %s", [number])
        return _job(rows[0]) if rows else None

    def page(self, *, after: str | None, limit: int) -> Page[ReplayJob]:
        """A page of jobs, the newest first."""
        conditions: list[Conditions] = [("id < %s", [decode_cursor(after, int)])] if after else []
        sql, values = conjunction(conditions)
        rows = self._all(f"{_SELECT} {sql} ORDER BY id DESC LIMIT %s", [*values, limit + 1])
        jobs = [_job(row) for row in rows[:limit]]
        return Page(items=jobs, next_cursor=encode_cursor(jobs[-1].id) if len(rows) > limit else None)

    def first_running(self) -> ReplayJob | None:
        """The oldest job that has not ended."""
        rows = self._all(f"{_SELECT} WHERE state = 'running' ORDER BY id LIMIT 1", [])
        return _job(rows[0]) if rows else None

    def events(self, where: ReplayFilter, *, after: Checkpoint | None, limit: int) -> list[Event]:
        """The next events of a job after its checkpoint, the first received first."""
        conditions = event_conditions(where.events())
        if after:
            place = [after.received_at, after.source, after.id, after.producer]
            conditions.append((f"({IN_ORDER}) > (%s, %s, %s, %s)", place))
        sql, values = conjunction(conditions)
        query = f"SELECT {EVENT_COLUMNS} FROM events {sql} ORDER BY {IN_ORDER} LIMIT %s"  # noqa: S608 - the same
        return [event_from_row(row) for row in self._all(query, [*values, limit])]

    def dead_letters(self, where: ReplayFilter, *, after: Checkpoint | None, limit: int) -> list[StoredDeadLetter]:
        """The next dead letters of a job after its checkpoint, the first received first."""
        conditions = dead_letter_conditions(where.dead_letters())
        if after:
            conditions.append(("id > %s", [int(after.id)]))
        sql, values = conjunction(conditions)
        query = f"SELECT {DEAD_LETTER_COLUMNS} FROM dead_letters {sql} ORDER BY id LIMIT %s"  # noqa: S608 - the same
        return [dead_letter_from_row(row) for row in self._all(query, [*values, limit])]

    def advance(self, moved: ReplayJob, *, was: Checkpoint | None) -> bool:
        """Store a job's checkpoint, counts and last error; False if it has ended or its checkpoint is not ``was``."""
        counts = (moved.sent, moved.failed, moved.skipped, moved.last_error)
        parameters = (_checkpoint(moved.checkpoint), *counts, moved.id, _checkpoint(was))
        with translate_errors(), self._pool.connection() as connection:
            return connection.execute(_ADVANCE, parameters).rowcount == 1

    def end(
        self, number: int, state: State, *, actor: str, now: datetime, error: str | None = None
    ) -> ReplayJob | None:
        """End a running job, with its entry in the audit log; None if the job is not running."""
        with translate_errors(), self._pool.connection() as connection, connection.transaction():
            row = connection.execute(_END, (state, now, error, number)).fetchone()
            if row is None:
                return None
            job = _job(row)
            connection.execute(ADD_AUDIT_ENTRY, audit_columns(ended(job, actor=actor, at=now)))
        return job

    def turn(self, *, patience_seconds: float = 0) -> AbstractContextManager[Lease | None]:
        """The lease of the process that runs jobs; None if another process has it."""
        return self._leases.take(LEASE, patience_seconds=patience_seconds)


def _job(row: TupleRow) -> ReplayJob:
    id_, what, where, target, per_second, actor, state, created, finished, matching, checkpoint, *counts, error = row
    sent, failed, skipped = counts
    return msgspec.convert(
        {
            "id": id_,
            "what": what,
            "filter": msgspec.json.decode(where),
            "target": msgspec.json.decode(target),
            "per_second": per_second,
            "actor": actor,
            "state": state,
            "created_at": created,
            "finished_at": finished,
            "matching": matching,
            "checkpoint": msgspec.json.decode(checkpoint) if checkpoint else None,
            "sent": sent,
            "failed": failed,
            "skipped": skipped,
            "last_error": error,
        },
        ReplayJob,
    )


def _checkpoint(checkpoint: Checkpoint | None) -> str | None:
    return None if checkpoint is None else to_json(checkpoint)
