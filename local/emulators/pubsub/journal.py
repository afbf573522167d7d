"""What the emulator writes down, so that its end loses nothing: topics, subscriptions and unacknowledged messages."""

from collections.abc import Iterable

import msgspec

from local.emulators.pubsub.subscription import Message


class TopicMade(msgspec.Struct, tag="topic", array_like=True):
    """A topic as it is now (a ``google.pubsub.v1.Topic`` on the wire)."""

    name: str
    wire: bytes


class TopicGone(msgspec.Struct, tag="no-topic", array_like=True):
    """A topic was deleted."""

    name: str


class SubscriptionMade(msgspec.Struct, tag="subscription", array_like=True):
    """A subscription as it is now (a ``google.pubsub.v1.Subscription`` on the wire)."""

    name: str
    wire: bytes


class SubscriptionGone(msgspec.Struct, tag="no-subscription", array_like=True):
    """A subscription was deleted."""

    name: str


class Owed(msgspec.Struct, tag="owed", array_like=True):
    """A subscription owes its subscriber a message."""

    subscription: str
    message: Message


class Settled(msgspec.Struct, tag="settled", array_like=True):
    """It was acknowledged, or given up."""

    subscription: str
    message_id: str


class Numbered(msgspec.Struct, tag="numbered", array_like=True):
    """Message ids up to this one have been given."""

    last: int


Record = TopicMade | TopicGone | SubscriptionMade | SubscriptionGone | Owed | Settled | Numbered

decoder = msgspec.json.Decoder(Record)


class Recovered(msgspec.Struct, frozen=True):
    """What a journal amounts to; topics and subscriptions on the wire, by name."""

    last_id: int
    topics: dict[str, bytes]
    subscriptions: dict[str, bytes]
    owed: dict[str, dict[str, Message]]


def recover(written: Iterable[Record]) -> Recovered:
    """Apply the records of a journal, one after the other."""
    last_id = 0
    topics: dict[str, bytes] = {}
    subscriptions: dict[str, bytes] = {}
    owed: dict[str, dict[str, Message]] = {}
    for record in written:
        match record:
            case TopicMade(name, wire):
                topics[name] = wire
            case TopicGone(name):
                topics.pop(name, None)
            case SubscriptionMade(name, wire):
                subscriptions[name] = wire
            case SubscriptionGone(name):
                subscriptions.pop(name, None)
                owed.pop(name, None)
            case Owed(name, message):
                owed.setdefault(name, {})[message.id] = message
            case Settled(name, message_id):
                owed.get(name, {}).pop(message_id, None)
            case Numbered(last):
                last_id = last
    return Recovered(last_id, topics, subscriptions, owed)
