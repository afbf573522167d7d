"""Topics and subscriptions, and the messages that pass from topics to subscriptions."""

import asyncio
import logging
import math
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from google.pubsub_v1 import types

from local.emulators.pubsub import journal as records
from local.emulators.pubsub.errors import already_exists, failed_precondition, invalid, not_found
from local.emulators.pubsub.names import DELETED_TOPIC, check_name
from local.emulators.pubsub.resources import (
    check_messages,
    new_subscription,
    new_topic,
    policy_of,
    updated,
    with_defaults,
)
from local.emulators.pubsub.snapshots import Retained, check_retention
from local.emulators.pubsub.state import State, Subscriber, snapshot_record, subscription_record, topic_record
from local.emulators.pubsub.subscription import Delivered, Message

log = logging.getLogger("helios.local.pubsub")

_ACK_ID = re.compile(r"[0-9]+:[0-9]+")


class Broker:
    """The operations on topics, subscriptions and messages; it may be used from the event loop only.

    Attributes:
        state: the resources and their messages.
        created: set when a subscription was created or changed, so that its push delivery is updated.
    """

    def __init__(self, folder: Path) -> None:
        """Recover the state that an earlier process left in the folder."""
        self.state = State(folder, give_up=self._give_up)
        self.created = asyncio.Event()

    # --- topics

    def create_topic(self, wire: types.Topic) -> types.Topic:
        """Create a topic."""
        check_name(wire.name, "topics")
        if wire.name in self.state.topics:
            raise already_exists("Topic")
        check_retention(wire)
        return self._save_topic(new_topic(wire))

    def topic(self, name: str) -> types.Topic:
        """The topic with this name."""
        check_name(name, "topics")
        if name not in self.state.topics:
            raise not_found(name)
        return self.state.topics[name]

    def update_topic(self, wire: types.Topic, fields: Sequence[str]) -> types.Topic:
        """Change the fields of a topic."""
        changed = updated(self.topic(wire.name), wire, fields)
        check_retention(changed)
        return self._save_topic(changed)

    def delete_topic(self, name: str) -> None:
        """Delete a topic; its subscriptions and snapshots remain, with their messages."""
        self.topic(name)
        del self.state.topics[name]
        self.state.retained.pop(name, None)
        changes: list[records.Record] = [records.TopicDeleted(name)]
        for subscriber in self.subscribers(topic=name):
            subscriber.wire.topic = DELETED_TOPIC
            changes.append(subscription_record(subscriber.wire))
        for snapshot in self.state.snapshots.values():
            if snapshot.wire.topic == name:
                snapshot.wire.topic = DELETED_TOPIC
                changes.append(snapshot_record(snapshot.wire))
        self.state.write(*changes)

    def _save_topic(self, wire: types.Topic) -> types.Topic:
        self.state.topics[wire.name] = wire
        if "message_retention_duration" in wire:
            self.state.retained.setdefault(wire.name, Retained())
        elif self.state.retained.pop(wire.name, None):
            self.state.write_ahead(records.MessagesCleared(wire.name))
        self.state.write(topic_record(wire))
        return wire

    # --- subscriptions

    def create_subscription(self, wire: types.Subscription) -> types.Subscription:
        """Create a subscription; it receives the messages published from now on."""
        check_name(wire.name, "subscriptions")
        if wire.name in self.state.subscribers:
            raise already_exists("Subscription")
        self.topic(wire.topic)
        self._check_dead_letter_topic(wire)
        wire = with_defaults(new_subscription(wire))
        self.state.subscribe(wire)
        self.state.write(subscription_record(wire))
        self.created.set()
        return wire

    def subscriber(self, name: str) -> Subscriber:
        """The subscription with this name."""
        check_name(name, "subscriptions")
        if name not in self.state.subscribers:
            raise not_found(name)
        return self.state.subscribers[name]

    def attached(self, name: str) -> Subscriber:
        """The subscription with this name, for a request that reads or acknowledges its messages.

        Raises:
            Refused: FAILED_PRECONDITION, it is detached from its topic.
        """
        subscriber = self.subscriber(name)
        if subscriber.wire.detached:
            raise failed_precondition("Subscription is detached.")
        return subscriber

    def pullable(self, name: str) -> Subscriber:
        """The subscription with this name, for a client that pulls.

        Raises:
            Refused: FAILED_PRECONDITION, its messages are pushed, or it is detached from its topic.
        """
        subscriber = self.attached(name)
        if subscriber.wire.push_config.push_endpoint:
            raise failed_precondition(f"Subscription is a push subscription: (resource={name})")
        return subscriber

    def subscribers(self, *, topic: str = "") -> list[Subscriber]:
        """The subscriptions of a topic, or all."""
        subscribers = self.state.subscribers.values()
        return [subscriber for subscriber in subscribers if topic in {"", subscriber.wire.topic}]

    def update_subscription(self, wire: types.Subscription, fields: Sequence[str]) -> types.Subscription:
        """Change the fields of a subscription."""
        subscriber = self.subscriber(wire.name)
        changed = with_defaults(updated(subscriber.wire, wire, fields))
        policy = policy_of(changed)
        if changed.dead_letter_policy != subscriber.wire.dead_letter_policy:
            self._check_dead_letter_topic(changed)
        subscriber.messages.policy = policy
        subscriber.wire = changed
        self.state.write(subscription_record(changed))
        subscriber.changed.set()
        self.created.set()
        return changed

    def delete_subscription(self, name: str) -> None:
        """Delete a subscription and its messages."""
        self.subscriber(name).changed.set()  # ends the streams
        del self.state.subscribers[name]
        self.state.write(records.SubscriptionDeleted(name))
        self.created.set()

    def detach(self, name: str) -> None:
        """Detach a subscription from its topic: its messages are dropped, and it receives no more."""
        subscriber = self.subscriber(name)
        subscriber.wire.detached = True
        subscriber.messages.replace([])
        subscriber.retained = Retained()
        self.state.write(records.MessagesCleared(name), subscription_record(subscriber.wire))
        subscriber.changed.set()
        self.created.set()

    # --- messages

    def publish(self, topic: str, messages: Sequence[Any]) -> list[str]:
        """Publish messages, and return their ids; once this returns, the messages survive the process.

        Args:
            topic: the name of the topic.
            messages: raw protobuf; the client library's wrappers take more time than all other steps.
        """
        self.topic(topic)
        check_messages(messages)
        contents = [(bytes(message.data), dict(message.attributes), message.ordering_key) for message in messages]
        ids = self._publish(topic, contents)
        self.state.compact()
        return ids

    def take(
        self, name: str, most: int, *, deadline: float | None = None, most_bytes: float = math.inf
    ) -> list[Delivered]:
        """Lease the next messages of a subscription.

        Args:
            name: the name of the subscription.
            most: the largest number of messages.
            deadline: the seconds of the leases; by default those of the subscription.
            most_bytes: the largest size of all messages; the first one may be larger.
        """
        messages = self.subscriber(name).messages
        taken = messages.take(most, time.monotonic(), deadline=deadline, most_bytes=most_bytes)
        self.state.compact()
        return taken

    def acknowledge(self, name: str, ack_ids: Sequence[str]) -> None:
        """Acknowledge these deliveries; one whose lease has expired is ignored, as in Pub/Sub.

        Raises:
            Refused: INVALID_ARGUMENT, one of the ids was never returned by a pull.
        """
        subscriber = self.attached(name)
        _check_ack_ids(ack_ids)
        acknowledged = [message for ack_id in ack_ids if (message := subscriber.messages.acknowledge(ack_id))]
        if subscriber.wire.retain_acked_messages:
            subscriber.retained.expire(subscriber.wire.message_retention_duration)
            for message in acknowledged:
                subscriber.retained.add(message)
            self.state.write(*(records.MessageRetained(name, message.id) for message in acknowledged))
        else:
            self.state.write(*(records.MessageSettled(name, message.id) for message in acknowledged))
        subscriber.changed.set()  # an ordering key may be free now

    def modify_deadline(self, name: str, ack_ids: Sequence[str], seconds: float) -> None:
        """Extend leases, or nack with 0 seconds.

        Raises:
            Refused: INVALID_ARGUMENT, one of the ids was never returned by a pull.
        """
        subscriber = self.attached(name)
        _check_ack_ids(ack_ids)
        for ack_id in ack_ids:
            subscriber.messages.modify_deadline(ack_id, seconds, time.monotonic())
        self.state.compact()
        subscriber.changed.set()

    def status(self) -> dict[str, dict[str, int]]:
        """The number of pending messages of each subscription, by state."""
        return {
            name: {
                "waiting": subscriber.messages.waiting,
                "leased": subscriber.messages.leased,
                "backing_off": subscriber.messages.backing_off,
            }
            for name, subscriber in sorted(self.state.subscribers.items())
        }

    def close(self) -> None:
        """Close the journal; the pending messages stay in it."""
        self.state.close()

    def _publish(self, topic: str, contents: Sequence[tuple[bytes, Mapping[str, str], str]]) -> list[str]:
        now = (
            time.time_ns() // 1000 / 1_000_000
        )  # microseconds, as in the API: a seek to this time includes the message
        messages = []
        for data, attributes, ordering_key in contents:
            self.state.last_id += 1
            messages.append(Message(str(self.state.last_id), data, attributes, ordering_key, now))
        routes = [
            (subscriber, [message for message in messages if subscriber.messages.policy.matches(message.attributes)])
            for subscriber in self.subscribers(topic=topic)
            if not subscriber.wire.detached
        ]
        stores = self._retaining(topic)
        new_records: list[records.Record] = [records.IdsAssigned(self.state.last_id)]
        for subscriber, matches in routes:
            new_records += [records.MessageAdded(subscriber.wire.name, message) for message in matches]
        for owner in stores:
            new_records += [records.MessageAdded(owner, message) for message in messages]
        # Before any delivery: a message that can't be stored is not delivered either.
        self.state.write_ahead(*new_records)
        for retained in stores.values():
            for message in messages:
                retained.add(message)
        for subscriber, matches in routes:
            for message in matches:
                subscriber.messages.add(message)
            subscriber.changed.set()
        return [message.id for message in messages]

    def _retaining(self, topic: str) -> dict[str, Retained]:
        """The stores of a topic's messages, by the name of their owner: the topic itself and its snapshots."""
        stores = {
            name: snapshot.retained for name, snapshot in self.state.snapshots.items() if snapshot.wire.topic == topic
        }
        if topic in self.state.retained:
            stores[topic] = self.state.retained[topic]
            stores[topic].expire(self.state.topics[topic].message_retention_duration)
        return stores

    def _give_up(self, name: str, message: Message, attempts: int) -> bool:
        """Forward a message to the dead-letter topic, with the attributes of "Handle message failures" (Pub/Sub docs).

        Returns False if that topic was deleted; the message then remains in the subscription.
        """
        topic = self.state.subscribers[name].wire.dead_letter_policy.dead_letter_topic
        facts = {"subscription": name, "message_id": message.id, "attempts": attempts, "dead_letter_topic": topic}
        if topic not in self.state.topics:
            log.warning("the dead-letter topic does not exist; the message is delivered again", extra=facts)
            return False
        _, project, _, short = name.split("/")
        attributes = dict(message.attributes) | {
            "CloudPubSubDeadLetterSourceDeliveryCount": str(attempts),
            "CloudPubSubDeadLetterSourceSubscription": short,
            "CloudPubSubDeadLetterSourceSubscriptionProject": project,
            "CloudPubSubDeadLetterSourceTopicPublishTime": rfc3339(message.published),
        }
        self._publish(topic, [(message.data, attributes, message.ordering_key)])
        # Last: a duplicate dead letter is better than a lost one.
        self.state.write_ahead(records.MessageSettled(name, message.id))
        log.warning("message moved to the dead-letter topic", extra=facts)
        return True

    def _check_dead_letter_topic(self, wire: types.Subscription) -> None:
        if topic := wire.dead_letter_policy.dead_letter_topic:
            self.topic(topic)


def rfc3339(seconds: float) -> str:
    """A time in seconds since the epoch, in Google's format."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _check_ack_ids(ack_ids: Sequence[str]) -> None:
    for ack_id in ack_ids:
        if not _ACK_ID.fullmatch(ack_id):
            raise invalid(f"Invalid ack id (ack_id={ack_id})")
