"""One atomic write, and the store that begins it."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

import msgspec

from helios.errors import ConflictError
from helios.model.events import Event
from helios.model.stream import Frame
from helios.ports.audit import AuditWriter
from helios.ports.balances import BalanceWriter
from helios.ports.counts import MinuteReader
from helios.ports.dead_letters import DeadLetterWriter
from helios.ports.events import EventWriter
from helios.ports.flows import FlowWriter
from helios.ports.log import LogWriter
from helios.ports.stream import StreamWriter
from helios.reconciliation.record import FlowCount, FlowKey, FlowRecord


class UnitOfWork(Protocol):
    """One atomic write, a part per topic.

    Collections passed to its parts may be empty; the keys in one call are distinct and sorted.
    """

    @property
    def events(self) -> EventWriter: ...  # noqa: D102 - its class describes it
    @property
    def counts(self) -> MinuteReader: ...  # noqa: D102
    @property
    def dead_letters(self) -> DeadLetterWriter: ...  # noqa: D102
    @property
    def flows(self) -> FlowWriter: ...  # noqa: D102
    @property
    def balances(self) -> BalanceWriter: ...  # noqa: D102
    @property
    def stream(self) -> StreamWriter: ...  # noqa: D102
    @property
    def audit(self) -> AuditWriter: ...  # noqa: D102
    @property
    def log(self) -> LogWriter: ...  # noqa: D102

    def sync(self) -> None:
        """Wait for the answers to all statements so far. Reading one of them then waits for no later statement."""

    def trial(self) -> AbstractContextManager[None]:
        """Begin a block whose writes are undone at its end, whether or not it raises. The unit of work remains usable.

        Raises:
            Retryable: as ``EventStore.transaction``. The unit of work is no longer usable.
            Rejected: a value in the block can't be stored by any writer.
        """


class NewBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch that was prepared without asking the store about its events.

    Attributes:
        events: sorted by key, with distinct keys. They are assumed not to be stored.
        instances: sorted by identity. The stored version of each is assumed to be the one before.
        frame: the frame with the counts.
        flow_counts: what the batch adds to the sums of instances.
        generation: the generation of the rules by which the instances were evaluated; None: the rules can't change.
        replaced: the stored record of the only instance, as this process has written it some time ago. It must still be
            stored like that. None: the records were read just now, or the instances are new.
    """

    events: Sequence[Event]
    instances: Sequence[FlowRecord]
    frame: Frame
    flow_counts: Sequence[FlowCount]
    generation: int | None = None
    replaced: FlowRecord | None = None


class InstancesChanged(ConflictError):  # noqa: N818 - reads as what has happened
    """A flow instance has another version than the batch assumed. Nothing was written.

    Attributes:
        instances: the instances of the batch that another writer has changed, as they are stored now; None if the store
            does not name them.
    """

    def __init__(self, message: str, instances: Mapping[FlowKey, FlowRecord] | None) -> None:
        """Take the message and the instances."""
        super().__init__(message)
        self.instances = instances


class EventStore(Protocol):
    """Begins units of work. It alone decides which events are new."""

    def instances(self, keys: Collection[FlowKey]) -> dict[FlowKey, FlowRecord]:
        """The stored instances among the keys, read in one round trip and without a lock.

        Raises:
            Retryable: the store can't be reached.
        """

    def store_new(self, batch: NewBatch) -> None:
        """Store a batch in one round trip. Returning means that all of it is durable.

        Raises:
            AlreadyStored: an event is stored. Nothing was written.
            InstancesChanged: an instance has another version. Nothing was written.
            RulesChanged: other rules are in force. Nothing was written.
            Retryable: as ``transaction``.
            Rejected: a value can't be stored by any writer. Nothing was written.
        """

    def transaction(self) -> AbstractContextManager[UnitOfWork]:
        """Begin a unit of work. Leaving the block normally means that all of it is durable.

        Raises:
            Retryable: the store can't be reached, or refused for a reason that passes. Nothing was written, or all of
                it was: writing it again is safe.
            Rejected: a value can't be stored by any writer. Nothing was written.
        """

    def extend_partitions(self, now: datetime) -> int:
        """Make room for the events that arrive from now on, and return the number of new partitions.

        Raises:
            Retryable: the store can't be reached.
        """

    def remove_frames(self, *, before: datetime, at_last: datetime, limit: int) -> int:
        """Remove at most ``limit`` frames, the oldest first, and return how many were removed.

        Args:
            before: frames published before this are removed once every consumer of the stream has passed them.
            at_last: frames published before this are removed in any case.
            limit: the most frames to remove.

        Raises:
            Retryable: the store can't be reached.
        """
