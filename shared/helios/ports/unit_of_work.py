"""One atomic write, and the store that begins it."""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from helios.model.audit import AuditEntry
from helios.model.counts import Count, MinuteCount
from helios.model.dead_letters import DeadLetter, ReplayedAs
from helios.model.events import Event, Key
from helios.model.flows import Due
from helios.model.stream import Frame
from helios.reconciliation.record import FlowCount, FlowKey, FlowRecord


class UnitOfWork(Protocol):
    """One atomic write. Collections may be empty; keys within one call are distinct and sorted."""

    def sync(self) -> None:
        """Wait for what was begun: so that its answers are here, and need not wait for what is begun next."""

    def insert(self, events: Sequence[Event]) -> Callable[[], set[Key]]:
        """Begin to store the events that are new; what is returned waits, and tells which were."""

    def digests(self, keys: Collection[Key]) -> dict[Key, str]:
        """The content digest of each stored event among the keys."""

    def events(self, keys: Collection[Key]) -> dict[Key, Event]:
        """The stored events among the keys, whole."""

    def count(self, counts: Sequence[Count]) -> None:
        """Add to the ledger."""

    def add_dead_letters(self, dead_letters: Sequence[DeadLetter]) -> None:
        """Keep dead letters; one whose fingerprint is known raises that one's attempts."""

    def replayed(self, number: int) -> list[Key] | None:
        """Lock a dead letter; the events that its replay became, None if it was not replayed with success."""

    def mark_replayed(self, number: int, replayed_as: ReplayedAs, keys: Sequence[Key], at: datetime) -> None:
        """Write down what the replay of a dead letter became; what the first one became stays."""

    def audit(self, line: AuditEntry) -> None:
        """Add a line to the audit log."""

    def publish(self, frame: Frame, keys: Sequence[Key]) -> None:
        """Append a frame to the outbox, with the keys of all events that were stored, not only of those it shows."""

    def find_flows(self, keys: Collection[FlowKey]) -> Callable[[], dict[FlowKey, FlowRecord]]:
        """Begin to look for stories, locking none; what is returned waits, and gives those that are kept."""

    def minutes(self, since: datetime) -> list[MinuteCount]:
        """The minutes from this one on in which something arrived, in order, and by source within one."""

    def overdue_flows(self, due: Sequence[Due], *, limit: int) -> list[FlowRecord]:
        """Lock and return stories that still wait although they are due, the first opened first.

        Those that another transaction has locked are left to it.
        """

    def write_flows(self, changed: Sequence[FlowRecord]) -> Callable[[], set[FlowKey]]:
        """Begin to write stories, each if what is kept is the version before it; what is returned waits.

        It tells which were not written. Every one is locked from then on, so that those which somebody else has
        written meanwhile can be found again, and written for certain. To be called in the order of the keys, and before
        anything else locks stories, so that writers wait in line, and never for each other.
        """

    def count_flows(self, counts: Sequence[FlowCount]) -> None:
        """Add to the sums of stories."""


class EventStore(Protocol):
    """The judge of what is new."""

    def transaction(self) -> AbstractContextManager[UnitOfWork]:
        """Begin a write; leaving the block normally means that it is durable.

        Raises:
            Retryable: the store can't be reached, or refused for a reason that will pass. Nothing was written,
                or all of it was: doing it again is safe.
            Rejected: some value can't be stored, whoever tries. Nothing was written.
        """

    def remove_frames(self, *, before: datetime, at_last: datetime, limit: int) -> int:
        """Remove at most ``limit`` frames, the oldest first, and return how many.

        Args:
            before: those published before this, if every consumer of the stream is past them;
            at_last: those published before this in any case.
            limit: how many.

        Raises:
            Retryable: the store can't be reached.
        """
