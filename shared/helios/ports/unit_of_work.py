"""One atomic write, and the store that begins it."""

from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from helios.ports.audit import AuditWriter
from helios.ports.counts import CountWriter
from helios.ports.dead_letters import DeadLetterWriter
from helios.ports.events import EventWriter
from helios.ports.flows import FlowWriter
from helios.ports.stream import StreamWriter


class UnitOfWork(Protocol):
    """One atomic write, a part per topic.

    Collections passed to its parts may be empty; the keys in one call are distinct and sorted.
    """

    @property
    def events(self) -> EventWriter: ...  # noqa: D102 - its class describes it
    @property
    def counts(self) -> CountWriter: ...  # noqa: D102
    @property
    def dead_letters(self) -> DeadLetterWriter: ...  # noqa: D102
    @property
    def flows(self) -> FlowWriter: ...  # noqa: D102
    @property
    def stream(self) -> StreamWriter: ...  # noqa: D102
    @property
    def audit(self) -> AuditWriter: ...  # noqa: D102

    def sync(self) -> None:
        """Wait for the answers to all statements so far. Reading one of them then waits for no later statement."""

    def trial(self) -> AbstractContextManager[None]:
        """Begin a block whose writes are undone at its end, whether or not it raises. The unit of work remains usable.

        Raises:
            Retryable: as ``EventStore.transaction``. The unit of work is no longer usable.
            Rejected: a value in the block can't be stored by any writer.
        """


class EventStore(Protocol):
    """Begins units of work. It alone decides which events are new."""

    def transaction(self) -> AbstractContextManager[UnitOfWork]:
        """Begin a unit of work. Leaving the block normally means that all of it is durable.

        Raises:
            Retryable: the store can't be reached, or refused for a reason that passes. Nothing was written, or all of
                it was: writing it again is safe.
            Rejected: a value can't be stored by any writer. Nothing was written.
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
