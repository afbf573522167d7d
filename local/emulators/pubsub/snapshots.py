"""Messages that outlive their acknowledgement: what snapshots hold, and what topics and subscriptions retain.

Pub/Sub documentation, "Replay and purge messages with seek".
"""

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from google.pubsub_v1 import types

from local.emulators.pubsub.errors import failed_precondition, invalid
from local.emulators.pubsub.resources import RETENTION
from local.emulators.pubsub.subscription import Message

MINIMUM_LIFE = timedelta(hours=1)
"""A snapshot that would expire sooner is refused."""

RETENTION_RANGE = (timedelta(minutes=10), timedelta(days=31))
"""The limits of a topic's ``message_retention_duration``."""


class Retained:
    """Messages by id, each for a certain time after its publication."""

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self._messages = {message.id: message for message in messages}

    def add(self, message: Message) -> None:
        """Retain one more message."""
        self._messages[message.id] = message

    def messages(self) -> list[Message]:
        """All messages."""
        return list(self._messages.values())

    def expire(self, age: timedelta) -> None:
        """Forget the messages that were published longer ago, up to the first younger one."""
        oldest = time.time() - age.total_seconds()
        while self._messages and (first := next(iter(self._messages.values()))).published < oldest:
            del self._messages[first.id]


class Snapshot:
    """The unacknowledged messages of a subscription at one time, and all messages published to its topic since then.

    Attributes:
        wire: the snapshot as the API returns it.
        retained: its messages.
    """

    def __init__(self, wire: types.Snapshot, messages: Iterable[Message]) -> None:
        self.wire = wire
        self.retained = Retained(messages)

    @property
    def expired(self) -> bool:
        """Whether its time has passed: it can't be read or used any more."""
        expires: datetime = self.wire.expire_time
        return expires <= datetime.now(UTC)


def new_snapshot(wire: types.Snapshot, unacknowledged: list[Message]) -> Snapshot:
    """A snapshot that expires seven days after the publication of its oldest message.

    Raises:
        Refused: FAILED_PRECONDITION, the oldest message is so old that the snapshot would expire within the hour.
    """
    now = time.time()
    oldest = min((message.published for message in unacknowledged), default=now)
    expires = datetime.fromtimestamp(oldest, UTC) + RETENTION
    if expires - datetime.fromtimestamp(now, UTC) < MINIMUM_LIFE:
        raise failed_precondition("The snapshot would expire within an hour: its oldest message is too old.")
    wire.expire_time = expires
    return Snapshot(wire, unacknowledged)


def check_expiry(wire: types.Snapshot) -> None:
    """Return if a client may set the time at which this snapshot expires.

    Raises:
        Refused: INVALID_ARGUMENT, it is in the past or more than seven days ahead.
    """
    now = datetime.now(UTC)
    if "expire_time" not in wire or not now < wire.expire_time <= now + RETENTION:
        raise invalid("expire_time must be in the future and at most seven days ahead.")


def check_retention(wire: types.Topic) -> None:
    """Return if a topic may retain its messages for this time, if it has one.

    Raises:
        Refused: INVALID_ARGUMENT, it is shorter than 10 minutes or longer than 31 days.
    """
    shortest, longest = RETENTION_RANGE
    if "message_retention_duration" in wire and not shortest <= wire.message_retention_duration <= longest:
        raise invalid("message_retention_duration must be 10 minutes to 31 days.")


def split(messages: Iterable[Message], delivers: Callable[[Message], bool]) -> tuple[list[Message], list[Message]]:
    """The messages to deliver after a seek and the others, each once and in the order of publication."""
    ordered = sorted({message.id: message for message in messages}.values(), key=lambda message: int(message.id))
    due = [message for message in ordered if delivers(message)]
    return due, [message for message in ordered if not delivers(message)]
