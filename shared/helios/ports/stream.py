"""The stream: frames, notifications, consumers, and the receivers of frames and events."""

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from helios.model.events import Event, Key
from helios.model.stream import Consumer, Frame, Parked, StreamEvents, StreamFrame, StreamWindow
from helios.reconciliation.record import FlowCount


class StreamWriter(Protocol):
    """The stream, within a unit of work."""

    def publish(
        self,
        frame: Frame,
        stored: Sequence[Event],
        flow_counts: Sequence[FlowCount] = (),
        *,
        generation: int | None = None,
    ) -> None:
        """Append a frame to the outbox.

        If the generation of the rules in force is another one, the unit of work raises RulesChanged, now or at its end.

        Args:
            frame: what clients see. Its counts are added to the counts of deliveries when it gets its position.
            stored: all events that were stored, not only those that the frame shows.
            flow_counts: what is added to the sums of flow instances at the same time.
            generation: the generation of the rules by which the unit of work has evaluated instances; None: it has
                evaluated none, or the rules can't change.
        """


class Notifier(Protocol):
    """Notifies the relay of new frames. Only saves time: the next notification or sweep relays frames in any case."""

    def notify(self) -> None:
        """Notify the relay that there are new frames.

        Raises:
            Retryable: the notification failed.
        """


class Listener(Protocol):
    """Receives the notifications of new frames."""

    def wait(self, seconds: float) -> None:
        """Return when a notification has arrived since the last call, or after ``seconds``. May return early.

        Raises:
            Retryable: notifications can't be received now.
        """

    def close(self) -> None:
        """Stop listening."""


class ConsumerOffset(Protocol):
    """The offset of one consumer in the stream.

    Attributes:
        position: the position up to which the consumer has processed everything.
    """

    position: int

    def commit(self, position: int) -> None:
        """Record that everything up to this position has been processed."""

    def park(self, refused: Sequence[Parked]) -> None:
        """Store events that the target refused permanently, with the reason, which replaces that of a parked event."""

    def parked(self, *, after: Key | None, limit: int) -> list[Event]:
        """The parked events that follow a key, sorted by key."""

    def release(self, keys: Collection[Key]) -> None:
        """Remove these events from the parked ones."""


class Outbox(Protocol):
    """The frames as a stream. Every method raises Retryable when the store can't be reached."""

    def number(self) -> None:
        """Give every frame that has no position its position, and add what it carries to the sums.

        Positions are gapless and durable. The counts and sums at a position are exactly those of the frames up to it.
        """

    def catch_up(self) -> None:
        """The same for a reader, who must not wait long: not for all frames, and not for a process that is stuck at it.

        The sums of the numbered frames are exact at their position, even if other frames are left.
        """

    def frames(self, *, after: int, limit: int) -> list[StreamFrame]:
        """The numbered frames that follow a position, in order."""

    def events(self, *, after: int, limit: int) -> list[StreamEvents]:
        """The events of these frames, by frame: all events that a batch stored, with their payloads."""

    def window(self) -> StreamWindow:
        """The positions that are still stored."""

    def consumers(self, *expected: str) -> list[Consumer]:
        """The progress of every consumer that has an offset or is expected to have one, sorted by name."""

    def offset(self, consumer: str) -> AbstractContextManager[ConsumerOffset]:
        """The offset of a consumer, held by one process at a time. It is stored when the block is left normally."""

    def try_offset(self, consumer: str) -> AbstractContextManager[ConsumerOffset | None]:
        """The same offset, or None at once if another process holds it."""


class Broadcaster(Protocol):
    """Sends messages to all connected clients."""

    def client_count(self) -> int:
        """The number of connected clients.

        Raises:
            Retryable: it is not known now.
        """

    def broadcast(self, message: bytes) -> None:
        """Send a message to all clients; a client that is gone is removed.

        Raises:
            Retryable: some clients may not have received the message.
        """


class EventSink(Protocol):
    """An external system that receives all stored events."""

    def send(self, events: Sequence[Event]) -> list[Parked]:
        """Send events; the events of one order are sent in the given order.

        Returning means that the system has stored all events except the returned ones, which it refuses permanently.

        Raises:
            Retryable: some events may not be stored there. All must be sent again, which may duplicate others.
        """

    def probe(self) -> None:
        """Return if the system answers now.

        Raises:
            Retryable: the system does not answer.
        """

    def close(self) -> None:
        """Close its connections."""


class Connections(Protocol):
    """The clients connected through a gateway. Every method raises Retryable when the store can't be reached."""

    def add(self, connection: str) -> None:
        """Record that a client is connected. Idempotent."""

    def remove(self, *connections: str) -> None:
        """Record that clients have disconnected, at least one."""

    def all(self) -> Sequence[str]:
        """The connected clients, as far as is known."""
