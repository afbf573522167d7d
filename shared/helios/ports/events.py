"""Stored events: the cache of their keys, and reading them."""

from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from helios.model.audit import Action, AuditEntry
from helios.model.counts import MinuteCount, Totals
from helios.model.dead_letters import DeadLetterFilter, DeadLetterGroup, StoredDeadLetter
from helios.model.events import Event, EventFilter, Key
from helios.model.paging import Page


class DedupeCache(Protocol):
    """A fast, forgetful memory of stored keys. Only a hint: it may forget, it may be down, it may be wrong.

    Attributes:
        failures: how many calls it could not serve.
    """

    @property
    def failures(self) -> int: ...  # noqa: D102 - described above

    def lookup(self, keys: Collection[Key]) -> set[Key]:
        """Those of the keys that are remembered; none when the memory is down. Never raises."""

    def add(self, keys: Collection[Key]) -> None:
        """Remember keys whose events are committed. Never raises."""

    def probe(self) -> None:
        """Return if the memory answers now.

        Raises:
            Retryable: it does not.
        """

    def close(self) -> None:
        """Let go of its connections."""


class EventReader(Protocol):
    """What was stored, for those who ask. Every method raises Retryable when the store can't be reached."""

    def totals(self, now: datetime, *, only_told: bool = False) -> Totals:
        """The ledger summed up.

        Args:
            now: the end of the last 24 hours.
            only_told: leave out what only frames without a position tell, so that the sums are those of a position.
        """

    def minutes(self, since: datetime) -> list[MinuteCount]:
        """The minutes from this one on in which something arrived, in order, and by source within one."""

    def events(self, where: EventFilter, *, after: str | None, limit: int) -> Page[Event]:
        """Events, newest ``received_at`` first.

        Raises:
            Rejected: ``after`` is not a cursor that an earlier page gave.
        """

    def event(self, key: Key) -> Event | None:
        """One event, or None."""

    def dead_letters(self, where: DeadLetterFilter, *, after: str | None, limit: int) -> Page[StoredDeadLetter]:
        """Dead letters, newest first.

        Raises:
            Rejected: ``after`` is not a cursor that an earlier page gave.
        """

    def dead_letter(self, number: int) -> StoredDeadLetter | None:
        """One dead letter by its id, or None."""

    def dead_letter_groups(self, where: DeadLetterFilter, *, limit: int) -> list[DeadLetterGroup]:
        """Dead letters by what is wrong with them, the most frequent first."""

    def audit_log(
        self, *, action: Action | None = None, subject: str | None = None, after: str | None = None, limit: int
    ) -> Page[AuditEntry]:
        """The audit log, or what it says of one action or subject; the newest line first.

        Raises:
            Rejected: ``after`` is not a cursor that an earlier page gave.
        """

    def probe(self) -> None:
        """Return if the store answers now."""
