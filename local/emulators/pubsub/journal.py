"""The records of the emulator's journal: topics, subscriptions and unacknowledged messages."""

from collections.abc import Iterable

import msgspec

from local.emulators.pubsub.subscription import Message


class TopicSaved(msgspec.Struct, tag="topic", array_like=True):
    """A topic was created or changed; ``wire`` is the serialized ``google.pubsub.v1.Topic``."""

    name: str
    wire: bytes


class TopicDeleted(msgspec.Struct, tag="no-topic", array_like=True):
    """A topic was deleted."""

    name: str


class SubscriptionSaved(msgspec.Struct, tag="subscription", array_like=True):
    """A subscription was created or changed; ``wire`` is the serialized ``google.pubsub.v1.Subscription``."""

    name: str
    wire: bytes


class SubscriptionDeleted(msgspec.Struct, tag="no-subscription", array_like=True):
    """A subscription was deleted."""

    name: str


class MessageAdded(msgspec.Struct, tag="owed", array_like=True):
    """A message was added to a subscription."""

    subscription: str
    message: Message


class MessageSettled(msgspec.Struct, tag="settled", array_like=True):
    """A message was acknowledged, or moved to the dead-letter topic."""

    subscription: str
    message_id: str


class IdsAssigned(msgspec.Struct, tag="numbered", array_like=True):
    """Message ids up to this one have been assigned."""

    last: int


Record = (
    TopicSaved | TopicDeleted | SubscriptionSaved | SubscriptionDeleted | MessageAdded | MessageSettled | IdsAssigned
)

decoder = msgspec.json.Decoder(Record)


class Recovered(msgspec.Struct, frozen=True):
    """The state that a journal describes.

    Attributes:
        last_id: the last assigned message id.
        topics: the serialized topics by name.
        subscriptions: the serialized subscriptions by name.
        pending: the unacknowledged messages by subscription and message id.
    """

    last_id: int
    topics: dict[str, bytes]
    subscriptions: dict[str, bytes]
    pending: dict[str, dict[str, Message]]


def recover(journal: Iterable[Record]) -> Recovered:
    """The state after all records of a journal, applied in order."""
    last_id = 0
    topics: dict[str, bytes] = {}
    subscriptions: dict[str, bytes] = {}
    pending: dict[str, dict[str, Message]] = {}
    for record in journal:
        match record:
            case TopicSaved(name, wire):
                topics[name] = wire
            case TopicDeleted(name):
                topics.pop(name, None)
            case SubscriptionSaved(name, wire):
                subscriptions[name] = wire
            case SubscriptionDeleted(name):
                subscriptions.pop(name, None)
                pending.pop(name, None)
            case MessageAdded(name, message):
                pending.setdefault(name, {})[message.id] = message
            case MessageSettled(name, message_id):
                pending.get(name, {}).pop(message_id, None)
            case IdsAssigned(last):
                last_id = last
    return Recovered(last_id, topics, subscriptions, pending)
