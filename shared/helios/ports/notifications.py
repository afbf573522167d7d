"""The outbox of notifications, and the targets of their messages."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from helios.model.incidents import Transition
from helios.model.notifications import Message, MessageState


class Recent(NamedTuple):
    """The messages that were made for a receiver lately.

    Attributes:
        number: how many.
        last_digest: when the last digest among them was made; None if there is none.
    """

    number: int
    last_digest: datetime | None


class RoutingTurn(Protocol):
    """One transaction of the only process that makes messages now."""

    def unrouted(self) -> list[Transition]:
        """The transitions that have not been routed, the first first."""

    def route(self, key: str, receivers: Sequence[str]) -> None:
        """Record which receivers get a transition."""

    def waiting(self) -> dict[str, list[Transition]]:
        """The transitions that are in no message, by receiver, the first first."""

    def recent(self, receiver: str, since: datetime) -> Recent:
        """The messages that were made for a receiver since a time."""

    def compose(self, message: Message, at: datetime) -> None:
        """Make a message of transitions that are in none."""


class NotificationStore(Protocol):
    """Holds the notifications. Every method raises Retryable when the store can't be reached."""

    def turn(self) -> AbstractContextManager[RoutingTurn | None]:
        """The turn, which is stored when the block ends normally; None: another process has the turn."""

    def due(self, now: datetime) -> list[str]:
        """The receivers with a message that is due."""

    def claim(self, receiver: str, now: datetime, *, lease: timedelta) -> Message | None:
        """Begin an attempt to send the first message that is due; None if there is none.

        A message waits for the earlier ones about the same incidents. If the process does not report the result within
        the lease, the message is due again.
        """

    def sent(self, message: Message, at: datetime) -> None:
        """Record that a message was sent."""

    def failed(self, message: Message, error: str, *, due_at: datetime | None) -> None:
        """Record that an attempt failed, and when the next one is due; None: there is none."""

    def messages(self, *, limit: int) -> list[MessageState]:
        """The last messages, the newest first."""


class NotificationTarget(Protocol):
    """Sends messages to one receiver."""

    def send(self, message: Message) -> None:
        """Send a message. Returning means that the receiver has it.

        Raises:
            TargetUnavailable: the receiver may not have it. Sending it again may succeed.
            Rejected: the receiver wants no messages any more.
        """
