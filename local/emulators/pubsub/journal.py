"""The records of the emulator's journal: topics, subscriptions, snapshots, and the messages of each."""

from collections.abc import Iterable

import msgspec

from local.emulators.pubsub.subscription import Message


class TopicSaved(msgspec.Struct, tag="topic", array_like=True):
    """A topic was created or changed; ``wire`` is the serialized ``google.pubsub.v1.Topic``."""

    name: str
    wire: bytes


class TopicDeleted(msgspec.Struct, tag="no-topic", array_like=True):
    """A topic was deleted, with the messages that it retained."""

    name: str


class SubscriptionSaved(msgspec.Struct, tag="subscription", array_like=True):
    """A subscription was created or changed; ``wire`` is the serialized ``google.pubsub.v1.Subscription``."""

    name: str
    wire: bytes


class SubscriptionDeleted(msgspec.Struct, tag="no-subscription", array_like=True):
    """A subscription was deleted, with its messages."""

    name: str


class SnapshotSaved(msgspec.Struct, tag="snapshot", array_like=True):
    """A snapshot was created or changed; ``wire`` is the serialized ``google.pubsub.v1.Snapshot``."""

    name: str
    wire: bytes


class SnapshotDeleted(msgspec.Struct, tag="no-snapshot", array_like=True):
    """A snapshot was deleted or has expired, with its messages."""

    name: str


class MessageAdded(msgspec.Struct, tag="owed", array_like=True):
    """A message was added to a subscription, to a snapshot, or to a topic that retains its messages.

    Attributes:
        subscription: the name of the subscription, the snapshot or the topic.
        message: the message.
    """

    subscription: str
    message: Message


class MessageSettled(msgspec.Struct, tag="settled", array_like=True):
    """A message was acknowledged, or moved to the dead-letter topic."""

    subscription: str
    message_id: str


class MessageRetained(msgspec.Struct, tag="retained", array_like=True):
    """A message was acknowledged, and the subscription retains it, so that a seek can deliver it again."""

    subscription: str
    message_id: str


class MessagesCleared(msgspec.Struct, tag="cleared", array_like=True):
    """All messages of a subscription were removed: by a seek, which adds the new ones, or because it was detached."""

    subscription: str


class IdsAssigned(msgspec.Struct, tag="numbered", array_like=True):
    """Message ids up to this one have been assigned."""

    last: int


Record = (
    TopicSaved
    | TopicDeleted
    | SubscriptionSaved
    | SubscriptionDeleted
    | SnapshotSaved
    | SnapshotDeleted
    | MessageAdded
    | MessageSettled
    | MessageRetained
    | MessagesCleared
    | IdsAssigned
)

decoder = msgspec.json.Decoder(Record)

_Messages = dict[str, dict[str, Message]]
"""Messages by the name of their owner and by id."""


class Recovered(msgspec.Struct):
    """The state that a journal describes.

    Attributes:
        last_id: the last assigned message id.
        topics: the serialized topics by name.
        subscriptions: the serialized subscriptions by name.
        snapshots: the serialized snapshots by name.
        pending: the unacknowledged messages of subscriptions, and all messages of snapshots and topics.
        retained: the acknowledged messages that subscriptions retain.
    """

    last_id: int = 0
    topics: dict[str, bytes] = {}
    subscriptions: dict[str, bytes] = {}
    snapshots: dict[str, bytes] = {}
    pending: _Messages = {}
    retained: _Messages = {}

    def clear(self, owner: str) -> None:
        """Remove all messages of a subscription, a snapshot or a topic."""
        self.pending.pop(owner, None)
        self.retained.pop(owner, None)


def recover(journal: Iterable[Record]) -> Recovered:
    """The state after all records of a journal, applied in order."""
    state = Recovered()
    for record in journal:
        match record:
            case MessageAdded(name, message):
                state.pending.setdefault(name, {})[message.id] = message
            case MessageSettled(name, message_id):
                state.pending.get(name, {}).pop(message_id, None)
            case MessageRetained(name, message_id):
                if acknowledged := state.pending.get(name, {}).pop(message_id, None):
                    state.retained.setdefault(name, {})[message_id] = acknowledged
            case MessagesCleared(name):
                state.clear(name)
            case IdsAssigned(last):
                state.last_id = last
            case _:
                _apply_resource(record, state)
    return state


def _apply_resource(
    record: TopicSaved | TopicDeleted | SubscriptionSaved | SubscriptionDeleted | SnapshotSaved | SnapshotDeleted,
    state: Recovered,
) -> None:
    match record:
        case TopicSaved(name, wire):
            state.topics[name] = wire
        case SubscriptionSaved(name, wire):
            state.subscriptions[name] = wire
        case SnapshotSaved(name, wire):
            state.snapshots[name] = wire
        case TopicDeleted(name):
            state.topics.pop(name, None)
            state.clear(name)
        case SubscriptionDeleted(name):
            state.subscriptions.pop(name, None)
            state.clear(name)
        case SnapshotDeleted(name):
            state.snapshots.pop(name, None)
            state.clear(name)
