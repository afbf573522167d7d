"""The stream: frames, notifications, consumers, and where events are forwarded."""

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from helios.model.events import Event, Key
from helios.model.stream import Consumer, Frame, Parked, StreamEvents, StreamFrame, StreamWindow


class StreamWriter(Protocol):
    """The stream, within a unit of work."""

    def publish(self, frame: Frame, keys: Sequence[Key]) -> None:
        """Append a frame to the outbox, with the keys of all events that were stored, not only of those it shows."""


class Notifier(Protocol):
    """Wakes whoever relays frames. Only a hurry: what is not rung for is found by the next ring or sweep."""

    def notify(self) -> None:
        """Say that there are new frames.

        Raises:
            Retryable: nobody heard it.
        """


class Listener(Protocol):
    """Hears the bell."""

    def wait(self, seconds: float) -> None:
        """Return when the bell has rung since the last call, or after so many seconds; it may return for nothing.

        Raises:
            Retryable: it can't be heard now.
        """

    def close(self) -> None:
        """Stop to listen."""


class ConsumerOffset(Protocol):
    """One consumer's place in the stream.

    Attributes:
        position: up to where everything has been dealt with.
    """

    position: int

    def commit(self, position: int) -> None:
        """Everything up to here has been dealt with."""

    def park(self, refused: Sequence[Parked]) -> None:
        """Keep what this consumer was refused for good, with the reason; what is parked already has the new one."""

    def parked(self, *, after: Key | None, limit: int) -> list[Event]:
        """What is parked, by key, after this one."""

    def release(self, keys: Collection[Key]) -> None:
        """These are not parked any more."""


class Outbox(Protocol):
    """The frames as a stream. Every method raises Retryable when the store can't be reached."""

    def number(self) -> None:
        """Give every frame that waits for one its position, gapless and durable."""

    def frames(self, *, after: int, limit: int) -> list[StreamFrame]:
        """The numbered frames that follow a position, in order."""

    def events(self, *, after: int, limit: int) -> list[StreamEvents]:
        """The same frames, each as the events that it stored: all of them, and whole."""

    def window(self) -> StreamWindow:
        """Which positions can still be had."""

    def consumers(self, *expected: str) -> list[Consumer]:
        """How everybody gets on who ever had a place in the stream, or is expected to have one, by name."""

    def offset(self, consumer: str) -> AbstractContextManager[ConsumerOffset]:
        """A consumer's place, held by one at a time; it moves when the block is left normally."""


class Broadcaster(Protocol):
    """Reaches everybody who watches now."""

    def broadcast(self, message: bytes) -> None:
        """Send a message to all; who can't be reached any more is forgotten.

        Raises:
            Retryable: some who watch may not have got it.
        """


class EventSink(Protocol):
    """Where stored events are passed on to, for others to work with."""

    def send(self, events: Sequence[Event]) -> list[Parked]:
        """Pass on events, those of one order in the order given.

        Returning means that all are kept there but those returned, which were refused and would be again.

        Raises:
            Retryable: some may not be; sending all of them again is right, and may double the others.
        """

    def probe(self) -> None:
        """Return if it answers now.

        Raises:
            Retryable: it does not.
        """

    def close(self) -> None:
        """Let go of its connections."""


class Connections(Protocol):
    """Who is connected through a gateway. Every method raises Retryable when that can't be known."""

    def add(self, connection: str) -> None:
        """It is connected; saying so twice does no harm."""

    def remove(self, connection: str) -> None:
        """It has left."""

    def all(self) -> Sequence[str]:
        """Everybody who is connected, as far as is known."""
