"""Replay jobs, and where they send."""

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


class ReplayJobs(Protocol):
    """Replay jobs, and what they send. Every method raises Retryable when the store can't be reached."""

    def matching(self, what: What, where: ReplayFilter) -> Matching:
        """What a job would send now."""

    def add(self, request: ReplayRequest, *, actor: str, matching: int, now: datetime) -> ReplayJob:
        """Keep a job, running, and its line of the audit log."""

    def get(self, number: int) -> ReplayJob | None:
        """One job, or None."""

    def page(self, *, after: str | None, limit: int) -> Page[ReplayJob]:
        """Jobs, the newest first.

        Raises:
            Rejected: ``after`` is not a cursor that an earlier page gave.
        """

    def first_running(self) -> ReplayJob | None:
        """The oldest job that has not ended."""

    def events(self, where: ReplayFilter, *, after: Checkpoint | None, limit: int) -> list[Event]:
        """The events that follow in a job, the first received first."""

    def dead_letters(self, where: ReplayFilter, *, after: Checkpoint | None, limit: int) -> list[StoredDeadLetter]:
        """The dead letters that follow in a job, the first received first."""

    def advance(self, moved: ReplayJob, *, was: Checkpoint | None) -> bool:
        """Keep a job's checkpoint, counts and last error; False if it has ended, or does not stand where it was."""

    def end(
        self, number: int, state: State, *, actor: str, now: datetime, error: str | None = None
    ) -> ReplayJob | None:
        """End a job that runs, with its line of the audit log; None if it does not run."""

    def turn(self) -> AbstractContextManager[bool]:
        """Whether it is this process' turn to work on jobs: one does at a time, until it leaves the block or dies."""


class ReplayTarget(Protocol):
    """Where replayed events go.

    Attributes:
        batch: how many it is best given at once.
    """

    batch: int

    def send(self, job: ReplayJob, events: Sequence[Event]) -> Iterator[Replayed]:
        """Send events in order, marked with the job, and say of each in turn what became of it.

        Raises:
            TargetUnavailable: those that were not spoken of may not be there; sending them again is right.
            Rejected: nothing can be sent there, now or later.
        """

    def close(self) -> None:
        """Let go of its connections."""


class Targets(Protocol):
    """The targets outside of Helios that this process can reach."""

    def open(self, target: Target) -> ReplayTarget:
        """A webhook or a cloud's topic.

        Raises:
            Rejected: it is not allowed, not set up, or takes a library that is not here; the error says which.
        """
