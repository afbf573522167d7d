"""Snapshots of subscriptions, and seeks to a snapshot or to a time."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from google.pubsub_v1 import types

from local.emulators.pubsub import journal as records
from local.emulators.pubsub.broker import Broker
from local.emulators.pubsub.errors import already_exists, invalid, not_found
from local.emulators.pubsub.names import check_name
from local.emulators.pubsub.resources import updated
from local.emulators.pubsub.snapshots import Retained, Snapshot, check_expiry, new_snapshot, split
from local.emulators.pubsub.state import Subscriber, snapshot_record
from local.emulators.pubsub.subscription import Message


class Replays:
    """The operations that deliver messages again, or mark them as acknowledged, for a whole subscription."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._state = broker.state

    def snapshots(self) -> dict[str, Snapshot]:
        """All snapshots that have not expired, by name."""
        expired = [name for name, snapshot in self._state.snapshots.items() if snapshot.expired]
        for name in expired:
            del self._state.snapshots[name]
        self._state.write(*(records.SnapshotDeleted(name) for name in expired))
        return self._state.snapshots

    def snapshot(self, name: str) -> Snapshot:
        """The snapshot with this name."""
        check_name(name, "snapshots")
        snapshot = self.snapshots().get(name)
        if not snapshot:
            raise not_found(name)
        return snapshot

    def create_snapshot(self, name: str, subscription: str, labels: Mapping[str, str]) -> types.Snapshot:
        """Create a snapshot of a subscription; without a name it gets one, in the subscription's project."""
        if name:
            check_name(name, "snapshots")
        subscriber = self._broker.attached(subscription)
        name = name or f"{subscription.rpartition('/subscriptions/')[0]}/snapshots/snapshot-{uuid.uuid4().hex}"
        if name in self.snapshots():
            raise already_exists("Snapshot")
        wire = types.Snapshot(name=name, topic=subscriber.wire.topic, labels=dict(labels))
        snapshot = new_snapshot(wire, split(subscriber.messages.unacknowledged(), lambda _: True)[0])
        self._state.snapshots[name] = snapshot
        messages = [records.MessageAdded(name, message) for message in snapshot.retained.messages()]
        self._state.write(snapshot_record(wire), *messages)
        return wire

    def update_snapshot(self, wire: types.Snapshot, fields: Sequence[str]) -> types.Snapshot:
        """Change the labels or the expiry of a snapshot."""
        snapshot = self.snapshot(wire.name)
        changed = updated(snapshot.wire, wire, fields)
        if "expire_time" in fields:
            check_expiry(changed)
        snapshot.wire = changed
        self._state.write(snapshot_record(changed))
        return changed

    def delete_snapshot(self, name: str) -> None:
        """Delete a snapshot and its messages."""
        self.snapshot(name)
        del self._state.snapshots[name]
        self._state.write(records.SnapshotDeleted(name))

    def seek_to_snapshot(self, subscription: str, name: str) -> None:
        """Deliver the messages of a snapshot, and no others."""
        subscriber, snapshot = self._broker.attached(subscription), self.snapshot(name)
        if snapshot.wire.topic != subscriber.wire.topic:
            raise invalid("The snapshot and the subscription have different topics.")
        chosen = {message.id for message in snapshot.retained.messages()}
        self._seek(subscriber, snapshot.retained.messages(), lambda message: message.id in chosen)

    def seek_to_time(self, subscription: str, time: datetime) -> None:
        """Mark the messages published before a time as acknowledged, and deliver the later ones that are retained."""
        subscriber = self._broker.attached(subscription)
        topic = self._state.retained.get(subscriber.wire.topic)
        if topic:
            topic.expire(self._state.topics[subscriber.wire.topic].message_retention_duration)
        start = time.timestamp()
        self._seek(subscriber, topic.messages() if topic else [], lambda message: message.published >= start)

    def _seek(self, subscriber: Subscriber, others: list[Message], delivers: Callable[[Message], bool]) -> None:
        """Choose among the messages of the subscription and the others which its filter lets through."""
        matches = subscriber.messages.policy.matches
        subscriber.retained.expire(subscriber.wire.message_retention_duration)
        candidates = [
            *(message for message in others if matches(message.attributes)),
            *subscriber.retained.messages(),
            *subscriber.messages.unacknowledged(),
        ]
        due, acknowledged = split(candidates, delivers)
        kept = acknowledged if subscriber.wire.retain_acked_messages else []
        subscriber.messages.replace(due)
        subscriber.retained = Retained(kept)
        name = subscriber.wire.name
        self._state.write(
            records.MessagesCleared(name),
            *(records.MessageAdded(name, message) for message in (*kept, *due)),
            *(records.MessageRetained(name, message.id) for message in kept),
        )
        subscriber.changed.set()
