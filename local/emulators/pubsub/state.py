"""The topics, subscriptions, snapshots and messages of the emulator, in memory and in its journal."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from google.pubsub_v1 import types

from local.emulators.journal import Journal
from local.emulators.pubsub import journal as records
from local.emulators.pubsub.resources import policy_of, with_defaults
from local.emulators.pubsub.snapshots import Retained, Snapshot
from local.emulators.pubsub.subscription import Message, Subscription

log = logging.getLogger("helios.local.pubsub")


class Subscriber:
    """A subscription with its messages.

    Attributes:
        wire: the subscription as the API returns it.
        messages: its unacknowledged messages.
        retained: its acknowledged messages, if it retains them.
        changed: set whenever there may be a message to deliver; the deliverer clears it.
    """

    def __init__(self, wire: types.Subscription, messages: Subscription) -> None:
        self.wire = wire
        self.messages = messages
        self.retained = Retained()
        self.changed = asyncio.Event()


class State:
    """What the emulator stores. A change is applied in memory and written to the journal by the caller.

    Attributes:
        topics: the topics by name.
        subscribers: the subscriptions by name.
        snapshots: the snapshots by name.
        retained: the messages of the topics that retain them, by the topic's name.
        last_id: the last assigned message id.
        recovered: how many unacknowledged messages an earlier process left, over all subscriptions.
    """

    def __init__(self, folder: Path, *, give_up: Callable[[str, Message, int], bool]) -> None:
        """Recover the state that an earlier process left in the folder.

        Args:
            folder: the folder of the journal.
            give_up: called with a subscription's name, a message after its last attempt, and the number of attempts.
        """
        self._journal = Journal(folder / "journal.jsonl", records.decoder)
        self._give_up = give_up
        self.topics: dict[str, types.Topic] = {}
        self.subscribers: dict[str, Subscriber] = {}
        self.snapshots: dict[str, Snapshot] = {}
        self.retained: dict[str, Retained] = {}
        self.last_id = 0
        self.recovered = 0
        self._recover()

    @property
    def unreadable(self) -> int:
        """How many records of an earlier process could not be read; their content is lost."""
        return self._journal.unreadable

    def subscribe(self, wire: types.Subscription) -> Subscriber:
        """Add a subscription without messages.

        Raises:
            Refused: one of its settings is out of range.
        """
        name = wire.name
        messages = Subscription(
            policy_of(wire), give_up=lambda message, attempts: self._give_up(name, message, attempts)
        )
        self.subscribers[name] = Subscriber(wire, messages)
        return self.subscribers[name]

    def write_ahead(self, *new_records: records.Record) -> None:
        """Write records of changes that are not yet applied in memory; call ``compact`` once they are."""
        self._journal.write(*new_records)

    def write(self, *new_records: records.Record) -> None:
        """Write records of changes that are already applied in memory."""
        self._journal.write(*new_records)
        self.compact()

    def compact(self) -> None:
        """Rewrite an outgrown journal from memory, so memory must contain every written record."""
        if self._journal.outgrown:
            self._journal.rewrite(self._everything())

    def close(self) -> None:
        """Close the journal; the messages stay in it."""
        self._journal.close()

    def _everything(self) -> Iterator[records.Record]:
        yield records.IdsAssigned(self.last_id)
        for name, topic in self.topics.items():
            yield topic_record(topic)
            for message in self.retained[name].messages() if name in self.retained else ():
                yield records.MessageAdded(name, message)
        for name, subscriber in self.subscribers.items():
            yield subscription_record(subscriber.wire)
            for message in subscriber.retained.messages():
                yield records.MessageAdded(name, message)
                yield records.MessageRetained(name, message.id)
            for message in subscriber.messages.unacknowledged():
                yield records.MessageAdded(name, message)
        for name, snapshot in self.snapshots.items():
            yield snapshot_record(snapshot.wire)
            for message in snapshot.retained.messages():
                yield records.MessageAdded(name, message)

    def _recover(self) -> None:
        left = records.recover(self._journal.replay())
        # Microseconds of the clock, with as many digits as Google's ids: a new folder must not reuse ids.
        self.last_id = max(left.last_id, time.time_ns() // 1000)
        for name, topic in left.topics.items():
            self.topics[name] = types.Topic.deserialize(topic)
            if "message_retention_duration" in self.topics[name]:
                self.retained[name] = Retained(left.pending.get(name, {}).values())
        for name, snapshot in left.snapshots.items():
            messages = left.pending.get(name, {}).values()
            self.snapshots[name] = Snapshot(types.Snapshot.deserialize(snapshot), messages)
        for name, subscription in left.subscriptions.items():
            subscriber = self.subscribe(with_defaults(types.Subscription.deserialize(subscription)))
            subscriber.retained = Retained(left.retained.get(name, {}).values())
            pending = left.pending.get(name, {})
            for message in pending.values():
                subscriber.messages.add(message)
            self.recovered += len(pending)
            if pending:
                log.info("messages recovered", extra={"subscription": name, "messages": len(pending)})
        self._journal.rewrite(self._everything())


def topic_record(wire: types.Topic) -> records.TopicSaved:
    """The record of a new or changed topic."""
    return records.TopicSaved(wire.name, types.Topic.serialize(wire))


def subscription_record(wire: types.Subscription) -> records.SubscriptionSaved:
    """The record of a new or changed subscription."""
    return records.SubscriptionSaved(wire.name, types.Subscription.serialize(wire))


def snapshot_record(wire: types.Snapshot) -> records.SnapshotSaved:
    """The record of a new or changed snapshot."""
    return records.SnapshotSaved(wire.name, types.Snapshot.serialize(wire))
