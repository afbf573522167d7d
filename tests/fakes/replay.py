"""Replay jobs in a dictionary, for a Helios in one process."""

import threading
from contextlib import AbstractContextManager
from datetime import datetime

import msgspec

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
from tests.fakes.leases import MemoryLeases
from tests.fakes.store import MemoryStore, place_of


class MemoryReplayJobs:
    """Implements ``ReplayJobs`` on a ``MemoryStore``."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._lock = threading.RLock()
        self._leases = MemoryLeases()
        self._jobs: dict[int, ReplayJob] = {}

    def matching(self, what: What, where: ReplayFilter) -> Matching:
        """The items that a job would send now."""
        if what == "events":
            events = self._store.events_in_order(where.events())
            moments, names = [event.received_at for event in events], [f"{event.source}/{event.id}" for event in events]
        else:
            dead_letters = self._store.dead_letters_in_order(where.dead_letters())
            moments, names = (
                [stored.first_received_at for stored in dead_letters],
                [str(stored.id) for stored in dead_letters],
            )
        return Matching(
            matching=len(names),
            oldest=min(moments, default=None),
            newest=max(moments, default=None),
            examples=names[:MAX_EXAMPLES],
        )

    def add(self, request: ReplayRequest, *, actor: str, matching: int, now: datetime) -> ReplayJob:
        """Store a running job and its audit entry."""
        with self._lock, self._store.transaction() as work:
            job = ReplayJob(
                id=len(self._jobs) + 1,
                what=request.what,
                filter=request.filter,
                target=request.target,
                per_second=request.per_second,
                actor=actor,
                state="running",
                created_at=now,
                matching=matching,
            )
            work.audit.add(started(job))
            self._jobs[job.id] = job
        return job

    def get(self, number: int) -> ReplayJob | None:
        """One job, or None."""
        return self._jobs.get(number)

    def page(self, *, after: str | None, limit: int) -> Page[ReplayJob]:
        """Jobs, newest first."""
        before = decode_cursor(after, int) if after else None
        following = [job for number, job in reversed(self._jobs.items()) if before is None or number < before]
        more = len(following) > limit
        return Page(items=following[:limit], next_cursor=encode_cursor(following[limit - 1].id) if more else None)

    def first_running(self) -> ReplayJob | None:
        """The oldest job that has not ended."""
        return next((job for job in self._jobs.values() if job.state == "running"), None)

    def events(self, where: ReplayFilter, *, after: Checkpoint | None, limit: int) -> list[Event]:
        """The next events of a job, in order of receipt."""
        position = (after.received_at, after.source, after.id, after.producer) if after else None
        events = self._store.events_in_order(where.events())
        return [event for event in events if position is None or place_of(event) > position][:limit]

    def dead_letters(self, where: ReplayFilter, *, after: Checkpoint | None, limit: int) -> list[StoredDeadLetter]:
        """The next dead letters of a job, in order of receipt."""
        dead_letters = self._store.dead_letters_in_order(where.dead_letters())
        return [stored for stored in dead_letters if after is None or stored.id > int(after.id)][:limit]

    def advance(self, moved: ReplayJob, *, was: Checkpoint | None) -> bool:
        """Store a job's checkpoint, counts and last error. False if it has ended or its checkpoint is not ``was``."""
        with self._lock:
            job = self._jobs[moved.id]
            if job.state != "running" or job.checkpoint != was:
                return False
            self._jobs[job.id] = msgspec.structs.replace(
                job,
                checkpoint=moved.checkpoint,
                sent=moved.sent,
                failed=moved.failed,
                skipped=moved.skipped,
                last_error=moved.last_error,
            )
            return True

    def end(
        self, number: int, state: State, *, actor: str, now: datetime, error: str | None = None
    ) -> ReplayJob | None:
        """End a running job and add its audit entry. None if it does not run."""
        with self._lock, self._store.transaction() as work:
            job = self._jobs.get(number)
            if job is None or job.state != "running":
                return None
            job = msgspec.structs.replace(job, state=state, finished_at=now, last_error=error or job.last_error)
            work.audit.add(ended(job, actor=actor, at=now))
            self._jobs[number] = job
            return job

    def turn(self, *, patience_seconds: float = 0) -> AbstractContextManager[Lease | None]:
        """The lease of the thread that runs jobs; None if another thread has it."""
        return self._leases.take("replay", patience_seconds=patience_seconds)
