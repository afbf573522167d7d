"""Replay jobs, and the targets to which they send."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from helios.model.dead_letters import StoredDeadLetter
from helios.model.events import Event
from helios.model.paging import Page
from helios.model.replay import (
    Checkpoint,
    Matching,
    Replayed,
    ReplayFilter,
    ReplayJob,
    ReplayRequest,
    State,
    Target,
    What,
)
from helios.ports.leases import Lease


class ReplayJobs(Protocol):
    """Replay jobs and their items. Every method raises Retryable when the store can't be reached."""

    def matching(self, what: What, where: ReplayFilter) -> Matching:
        """The items that a job would send now."""

    def add(self, request: ReplayRequest, *, actor: str, matching: int, now: datetime) -> ReplayJob:
        """Store a running job and its audit log entry."""

    def get(self, number: int) -> ReplayJob | None:
        """The job with this id, or None."""

    def page(self, *, after: str | None, limit: int) -> Page[ReplayJob]:
        """A page of jobs, the newest first.

        Raises:
            Rejected: ``after`` is not a cursor of an earlier page.
        """

    def first_running(self) -> ReplayJob | None:
        """The oldest job that has not ended."""

    def events(self, where: ReplayFilter, *, after: Checkpoint | None, limit: int) -> list[Event]:
        """The next events of a job, the first received first."""

    def dead_letters(self, where: ReplayFilter, *, after: Checkpoint | None, limit: int) -> list[StoredDeadLetter]:
        """The next dead letters of a job, the first received first."""

    def advance(self, moved: ReplayJob, *, was: Checkpoint | None) -> bool:
        """Store the checkpoint, counts and last error of a job; False if it has ended or its checkpoint is not ``was``.

        Args:
            moved: the job with its new checkpoint.
            was: the checkpoint from which the job was advanced.
        """

    def end(
        self, number: int, state: State, *, actor: str, now: datetime, error: str | None = None
    ) -> ReplayJob | None:
        """End a running job, and store the audit log entry; None if the job is not running."""

    def turn(self, *, patience_seconds: float = 0) -> AbstractContextManager[Lease | None]:
        """The lease of the process that runs jobs; None if another process has it.

        Args:
            patience_seconds: how long to wait for another process.
        """


class ReplayTarget(Protocol):
    """The target of replayed events.

    Attributes:
        batch: the best number of events for one ``send``.
    """

    batch: int

    def send(self, job: ReplayJob, events: Sequence[Event]) -> Iterator[Replayed]:
        """Send events in order, marked with the job, and yield the result of each in turn.

        Raises:
            TargetUnavailable: the events without a result may not have arrived. They must be sent again.
            Rejected: the target can receive nothing, now or later.
        """

    def close(self) -> None:
        """Close its connections."""


class Targets(Protocol):
    """The targets outside of Helios that this process can reach."""

    def open(self, target: Target) -> ReplayTarget:
        """A webhook, or the topic of a cloud.

        Raises:
            Rejected: the target is not allowed, not configured, or needs a library that is not installed; the error
                says which.
        """
