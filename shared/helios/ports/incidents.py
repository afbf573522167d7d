"""Incidents: reading them, acting on them, and the turn of the process that opens and resolves them."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from helios.model.incidents import (
    Attention,
    Cause,
    CauseCount,
    Incident,
    IncidentAction,
    IncidentFilter,
    Severity,
    Transition,
)
from helios.model.paging import Page


class IncidentTurn(Protocol):
    """One transaction of the only process that opens and resolves incidents now."""

    def counts(self) -> list[CauseCount]:
        """What numbered frames have added to causes since the last turn. It is removed with this transaction."""

    def open_incidents(self) -> list[Incident]:
        """Every open incident."""

    def open(self, cause: Cause, *, title: str, severity: Severity, at: datetime) -> int:
        """Open an incident, and return its id."""

    def add(self, id_: int, counts: Sequence[CauseCount]) -> None:
        """Add counts to an incident."""

    def take(self, count: CauseCount) -> CauseCount | None:
        """Take a count that is not positive from incidents of its cause, open or resolved; none counts less than 0.

        Returns:
            What is left because these incidents count less; None if nothing is.
        """

    def latest(self, key: str) -> int | None:
        """The newest incident with this cause, open or resolved; None if there is none."""

    def see(self, ids: Sequence[int], at: datetime) -> None:
        """Record that the causes of these incidents were seen."""

    def resolve(self, id_: int, resolution: str, at: datetime) -> None:
        """Resolve an incident."""

    def announce(self, transitions: Sequence[Transition]) -> None:
        """Write the transitions into the outbox of notifications, each once by its key."""

    def end_snooze(self, id_: int) -> None:
        """Record that the snooze of an incident is over."""


class IncidentReader(Protocol):
    """Reads incidents, and acts on them. Every method raises Retryable when the store can't be reached."""

    def incidents(self, where: IncidentFilter, *, after: str | None, limit: int) -> Page[Incident]:
        """A page of incidents, the newest first.

        Raises:
            Rejected: ``after`` is not a cursor of an earlier page.
        """

    def incident(self, id_: int) -> Incident | None:
        """The incident with this id, or None."""

    def attention(self, now: datetime) -> Attention:
        """The number of open incidents, and of notifications that fail."""

    def act(self, id_: int, action: IncidentAction, *, actor: str, now: datetime) -> Incident | None:
        """Apply what a user does, with its entry in the audit log; None if no open incident has this id."""


class IncidentStore(Protocol):
    """Gives turns. Every method raises Retryable when the store can't be reached."""

    def turn(self) -> AbstractContextManager[IncidentTurn | None]:
        """The turn, which is stored when the block ends normally; None: another process has the turn."""
