"""Topics and subscriptions, and the messages that pass from topics to subscriptions."""

import asyncio
import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from google.protobuf.field_mask_pb2 import FieldMask
from google.pubsub_v1 import types

from local.emulators.journal import Journal
from local.emulators.pubsub import journal as records
from local.emulators.pubsub.errors import already_exists, invalid, not_found, out_of_range
from local.emulators.pubsub.filters import BadFilter, parse
from local.emulators.pubsub.journal import recover
from local.emulators.pubsub.subscription import DEFAULT_ATTEMPTS, Delivered, Message, Policy, Subscription

log = logging.getLogger("helios.local.pubsub")

# Pub/Sub documentation, "Quotas and limits", "Resource limits".
MAX_PUBLISH_BYTES = 10_000_000
"""Limit of the data in one request, and so of one message too."""
MAX_MESSAGES_PER_PUBLISH = 1000
MAX_ATTRIBUTES = 100
MAX_ATTRIBUTE_KEY_BYTES = 256
MAX_ATTRIBUTE_VALUE_BYTES = 1024
MAX_ORDERING_KEY_BYTES = 1024

ACK_DEADLINE_RANGE = range(10, 601)
DEFAULT_ACK_DEADLINE = 10
RETENTION = timedelta(days=7)
"""The retention that Pub/Sub shows for a subscription that sets none."""
ATTEMPTS_RANGE = range(5, 101)
DEFAULT_MINIMUM_BACKOFF, DEFAULT_MAXIMUM_BACKOFF = timedelta(seconds=10), timedelta(seconds=600)
"""Defaults in a retry policy; without a policy, a message is redelivered at once (pull) or after push backoff."""
PUSH_MINIMUM_BACKOFF, PUSH_MAXIMUM_BACKOFF = 0.1, 60.0
"""Pub/Sub documentation, "Push subscriptions", "Push backoff"."""

UNCHANGEABLE = frozenset({"name", "topic", "filter", "enable_message_ordering"})

Wire = TypeVar("Wire", types.Topic, types.Subscription)

_NAME = re.compile(r"projects/[^/]+/(topics|subscriptions)/[A-Za-z][A-Za-z0-9\-_.~+%]{2,254}")


class Subscriber:
    """A subscription with its messages.

    Attributes:
        wire: the subscription as the API returns it.
        messages: its messages.
        changed: set whenever there may be a message to deliver; the deliverer clears it.
    """

    def __init__(self, wire: types.Subscription, messages: Subscription) -> None:
        self.wire = wire
        self.messages = messages
        self.changed = asyncio.Event()


class Broker:
    """The state of the emulator; it may be used from the event loop only."""

    def __init__(self, folder: Path) -> None:
        """Recover the state that an earlier process left in the folder."""
        self._journal = Journal(folder / "journal.jsonl", records.decoder)
        self._topics: dict[str, types.Topic] = {}
        self._subscribers: dict[str, Subscriber] = {}
        self._last_id = 0
        self.recovered = 0
        """How many unacknowledged messages an earlier process left, over all subscriptions."""
        self.created = asyncio.Event()
        """Set when a subscription was created or changed, so that its push delivery is updated."""
        self._recover()

    # --- topics

    def create_topic(self, wire: types.Topic) -> types.Topic:
        """Create a topic."""
        _check_name(wire.name, "topics")
        if wire.name in self._topics:
            raise already_exists("Topic")
        self._topics[wire.name] = wire
        self._write(records.TopicSaved(wire.name, types.Topic.serialize(wire)))
        return wire

    def topic(self, name: str) -> types.Topic:
        """The topic with this name."""
        if name not in self._topics:
            raise not_found(name)
        return self._topics[name]

    def topics(self, project: str) -> list[types.Topic]:
        """The topics of a project (``projects/p``), sorted by name."""
        return [self._topics[name] for name in sorted(self._topics) if name.startswith(f"{project}/")]

    def update_topic(self, wire: types.Topic, fields: Sequence[str]) -> types.Topic:
        """Change the fields of a topic."""
        changed = _updated(self.topic(wire.name), wire, fields)
        self._topics[wire.name] = changed
        self._write(records.TopicSaved(wire.name, types.Topic.serialize(changed)))
        return changed

    def delete_topic(self, name: str) -> None:
        """Delete a topic; its subscriptions remain, with their pending messages."""
        self.topic(name)
        del self._topics[name]
        for subscriber in self._subscribers.values():
            if subscriber.wire.topic == name:
                subscriber.wire.topic = "_deleted-topic_"
                self._write(_made(subscriber.wire))
        self._write(records.TopicDeleted(name))

    # --- subscriptions

    def create_subscription(self, wire: types.Subscription) -> types.Subscription:
        """Create a subscription; it receives the messages published from now on."""
        _check_name(wire.name, "subscriptions")
        if wire.name in self._subscribers:
            raise already_exists("Subscription")
        self.topic(wire.topic)
        self._check_dead_letter_topic(wire)
        wire = _with_defaults(wire)
        self._subscribe(wire)
        self._write(_made(wire))
        self.created.set()
        return wire

    def subscriber(self, name: str) -> Subscriber:
        """The subscription with this name."""
        if name not in self._subscribers:
            raise not_found(name)
        return self._subscribers[name]

    def subscribers(self, project: str = "", *, topic: str = "") -> list[Subscriber]:
        """The subscriptions of a project, of a topic, or all, sorted by name."""
        return [
            self._subscribers[name]
            for name in sorted(self._subscribers)
            if name.startswith(f"{project}/" if project else "") and topic in {"", self._subscribers[name].wire.topic}
        ]

    def update_subscription(self, wire: types.Subscription, fields: Sequence[str]) -> types.Subscription:
        """Change the fields of a subscription."""
        subscriber = self.subscriber(wire.name)
        changed = _with_defaults(_updated(subscriber.wire, wire, fields))
        if changed.dead_letter_policy != subscriber.wire.dead_letter_policy:
            self._check_dead_letter_topic(changed)
        subscriber.messages.policy = _policy(changed)
        subscriber.wire = changed
        self._write(_made(changed))
        subscriber.changed.set()
        self.created.set()
        return changed

    def delete_subscription(self, name: str) -> None:
        """Delete a subscription and its pending messages."""
        self.subscriber(name)
        del self._subscribers[name]
        self._write(records.SubscriptionDeleted(name))
        self.created.set()

    # --- messages

    def publish(self, topic: str, messages: Sequence[Any]) -> list[str]:
        """Publish messages, and return their ids; once this returns, the messages survive the process.

        Args:
            topic: the name of the topic.
            messages: raw protobuf; the client library's wrappers take more time than all other steps.
        """
        self.topic(topic)
        if not 0 < len(messages) <= MAX_MESSAGES_PER_PUBLISH:
            raise invalid(f"A publish request has 1 to {MAX_MESSAGES_PER_PUBLISH} messages, not {len(messages)}.")
        if sum(len(message.data) for message in messages) > MAX_PUBLISH_BYTES:
            raise invalid(f"A publish request has at most {MAX_PUBLISH_BYTES} bytes.")
        for message in messages:
            _check_message(message)
        contents = [(bytes(message.data), dict(message.attributes), message.ordering_key) for message in messages]
        ids = self._publish(topic, contents)
        self._compact()
        return ids

    def take(self, name: str, most: int, *, deadline: float | None = None) -> list[Delivered]:
        """Lease the next messages of a subscription, for ``deadline`` seconds or by default its own deadline."""
        taken = self.subscriber(name).messages.take(most, time.monotonic(), deadline=deadline)
        self._compact()
        return taken

    def acknowledge(self, name: str, ack_ids: Sequence[str]) -> None:
        """Acknowledge these deliveries; one whose lease has expired is ignored, as in Pub/Sub."""
        subscriber = self.subscriber(name)
        acknowledged = [subscriber.messages.acknowledge(ack_id) for ack_id in ack_ids]
        self._write(*(records.MessageSettled(name, message.id) for message in acknowledged if message))
        subscriber.changed.set()  # an ordering key may be free now

    def modify_deadline(self, name: str, ack_ids: Sequence[str], seconds: float) -> None:
        """Extend leases, or nack with 0 seconds."""
        subscriber = self.subscriber(name)
        for ack_id in ack_ids:
            subscriber.messages.modify_deadline(ack_id, seconds, time.monotonic())
        self._compact()
        subscriber.changed.set()

    def status(self) -> dict[str, dict[str, int]]:
        """The number of pending messages of each subscription, by state."""
        return {
            name: {
                "waiting": subscriber.messages.waiting,
                "leased": subscriber.messages.leased,
                "backing_off": subscriber.messages.backing_off,
            }
            for name, subscriber in sorted(self._subscribers.items())
        }

    @property
    def unreadable(self) -> int:
        """How many records of an earlier process could not be read; their content is lost."""
        return self._journal.unreadable

    def close(self) -> None:
        """Close the journal; the pending messages stay in it."""
        self._journal.close()

    def _publish(self, topic: str, contents: Sequence[tuple[bytes, Mapping[str, str], str]]) -> list[str]:
        now = time.time()
        messages = []
        for data, attributes, ordering_key in contents:
            self._last_id += 1
            messages.append(Message(str(self._last_id), data, attributes, ordering_key, now))
        new_records: list[records.Record] = [records.IdsAssigned(self._last_id)]
        routes = []
        for subscriber in self._subscribers.values():
            if subscriber.wire.topic != topic:
                continue
            matches = [message for message in messages if subscriber.messages.policy.matches(message.attributes)]
            new_records += [records.MessageAdded(subscriber.wire.name, message) for message in matches]
            routes.append((subscriber, matches))
        # Before any delivery: a message that can't be stored is not delivered either.
        self._journal.write(*new_records)
        for subscriber, matches in routes:
            for message in matches:
                subscriber.messages.add(message)
            subscriber.changed.set()
        return [message.id for message in messages]

    def _give_up(self, name: str, message: Message, attempts: int) -> bool:
        """Forward a message to the dead-letter topic, with the attributes of "Handle message failures" (Pub/Sub docs).

        Returns False if that topic was deleted; the message then remains in the subscription.
        """
        topic = self._subscribers[name].wire.dead_letter_policy.dead_letter_topic
        facts = {"subscription": name, "message_id": message.id, "attempts": attempts, "dead_letter_topic": topic}
        if topic not in self._topics:
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
        self._journal.write(
            records.MessageSettled(name, message.id)
        )  # last: a duplicate dead letter is better than a lost one
        log.warning("message moved to the dead-letter topic", extra=facts)
        return True

    def _check_dead_letter_topic(self, wire: types.Subscription) -> None:
        topic = wire.dead_letter_policy.dead_letter_topic
        if topic and topic not in self._topics:
            raise not_found(topic)

    def _subscribe(self, wire: types.Subscription) -> None:
        name = wire.name
        messages = Subscription(_policy(wire), give_up=lambda message, attempts: self._give_up(name, message, attempts))
        self._subscribers[name] = Subscriber(wire, messages)

    # --- the journal

    def _write(self, *new_records: records.Record) -> None:
        """Write records of changes that are already applied in memory."""
        self._journal.write(*new_records)
        self._compact()

    def _compact(self) -> None:
        """Rewrite an outgrown journal from memory, so memory must contain every written record."""
        if self._journal.outgrown:
            self._journal.rewrite(self._everything())

    def _everything(self) -> Iterator[records.Record]:
        yield records.IdsAssigned(self._last_id)
        for name, topic in self._topics.items():
            yield records.TopicSaved(name, types.Topic.serialize(topic))
        for name, subscriber in self._subscribers.items():
            yield _made(subscriber.wire)
            for message in subscriber.messages.unacknowledged():
                yield records.MessageAdded(name, message)

    def _recover(self) -> None:
        state = recover(self._journal.replay())
        # Microseconds of the clock, with as many digits as Google's ids: a new folder must not reuse ids.
        self._last_id = max(state.last_id, time.time_ns() // 1000)
        self._topics = {name: types.Topic.deserialize(wire) for name, wire in state.topics.items()}
        for name, wire in state.subscriptions.items():
            self._subscribe(_with_defaults(types.Subscription.deserialize(wire)))
            pending = state.pending.get(name, {})
            for message in pending.values():
                self._subscribers[name].messages.add(message)
            self.recovered += len(pending)
            if pending:
                log.info("messages recovered", extra={"subscription": name, "messages": len(pending)})
        self._journal.rewrite(self._everything())


def rfc3339(seconds: float) -> str:
    """A time in seconds since the epoch, in Google's format."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _made(wire: types.Subscription) -> records.SubscriptionSaved:
    return records.SubscriptionSaved(wire.name, types.Subscription.serialize(wire))


def _check_name(name: str, kind: str) -> None:
    if not _NAME.fullmatch(name) or f"/{kind}/" not in name or name.rpartition("/")[2].startswith("goog"):
        raise invalid(f"Invalid [{kind}] name: (name={name})")


def _check_message(message: Any) -> None:
    if not message.data and not message.attributes:
        raise invalid("Some messages in the publish request are empty: each needs data or attributes.")
    if len(message.attributes) > MAX_ATTRIBUTES:
        raise invalid(f"A message has at most {MAX_ATTRIBUTES} attributes.")
    for key, value in message.attributes.items():
        if not 0 < len(key.encode()) <= MAX_ATTRIBUTE_KEY_BYTES or len(value.encode()) > MAX_ATTRIBUTE_VALUE_BYTES:
            raise invalid(f"The attribute {key[:40]!r} is too long, or its key is empty.")
    if len(message.ordering_key.encode()) > MAX_ORDERING_KEY_BYTES:
        raise invalid(f"An ordering key has at most {MAX_ORDERING_KEY_BYTES} bytes.")


def _with_defaults(wire: types.Subscription) -> types.Subscription:
    """The same subscription with Pub/Sub's defaults for unset fields."""
    full: types.Subscription = types.Subscription.deserialize(types.Subscription.serialize(wire))
    full.ack_deadline_seconds = wire.ack_deadline_seconds or DEFAULT_ACK_DEADLINE
    if "message_retention_duration" not in wire:
        full.message_retention_duration = RETENTION
    if wire.dead_letter_policy.dead_letter_topic and not wire.dead_letter_policy.max_delivery_attempts:
        full.dead_letter_policy.max_delivery_attempts = DEFAULT_ATTEMPTS
    if "retry_policy" in wire:
        if "minimum_backoff" not in wire.retry_policy:
            full.retry_policy.minimum_backoff = DEFAULT_MINIMUM_BACKOFF
        if "maximum_backoff" not in wire.retry_policy:
            full.retry_policy.maximum_backoff = DEFAULT_MAXIMUM_BACKOFF
    return full


def _policy(wire: types.Subscription) -> Policy:
    """The delivery policy of a subscription.

    Raises:
        Refused: one of its settings is out of range.
    """
    if wire.ack_deadline_seconds not in ACK_DEADLINE_RANGE:
        raise invalid(f"ack_deadline_seconds is {wire.ack_deadline_seconds}: it must be 10 to 600.")
    endpoint = urlsplit(wire.push_config.push_endpoint)
    if wire.push_config.push_endpoint and (endpoint.scheme not in {"http", "https"} or not endpoint.hostname):
        raise invalid("Unsupported push_endpoint")
    try:
        matches = parse(wire.filter)
    except BadFilter as error:
        raise invalid(f"Invalid filter: {error}") from error
    minimum, maximum = _backoff(wire)
    return Policy(
        ack_deadline=wire.ack_deadline_seconds,
        minimum_backoff=minimum,
        maximum_backoff=maximum,
        max_attempts=_max_attempts(wire),
        ordered=wire.enable_message_ordering,
        matches=matches,
    )


def _backoff(wire: types.Subscription) -> tuple[float, float]:
    if "retry_policy" in wire:
        minimum = wire.retry_policy.minimum_backoff.total_seconds()
        maximum = wire.retry_policy.maximum_backoff.total_seconds()
        if not 0 <= minimum <= maximum <= DEFAULT_MAXIMUM_BACKOFF.total_seconds():
            raise invalid("retry_policy: 0 <= minimum_backoff <= maximum_backoff <= 600 s must hold.")
        return minimum, maximum
    return (PUSH_MINIMUM_BACKOFF, PUSH_MAXIMUM_BACKOFF) if wire.push_config.push_endpoint else (0.0, 0.0)


def _max_attempts(wire: types.Subscription) -> int | None:
    policy = wire.dead_letter_policy
    if not policy.dead_letter_topic:
        return None
    attempts: int = policy.max_delivery_attempts
    if attempts not in ATTEMPTS_RANGE:
        raise out_of_range("max_delivery_attempts", attempts, ATTEMPTS_RANGE)
    return attempts


def _updated(old: Wire, new: Wire, fields: Sequence[str]) -> Wire:
    """A copy of ``old`` with these fields of ``new`` (a field mask: ``labels``, ``push_config.push_endpoint``).

    Raises:
        Refused: a field does not exist, or can't be changed.
    """
    if not fields:
        raise invalid("The update_mask in the request is empty.")
    mask = FieldMask(paths=fields)
    changed, source = (type(old).deserialize(type(old).serialize(message)) for message in (old, new))
    raw, raw_source = type(old).pb(changed), type(old).pb(source)
    for field in fields:
        *parents, _ = names = field.split(".")
        if names[0] in UNCHANGEABLE or not FieldMask(paths=[field]).IsValidForDescriptor(raw.DESCRIPTOR):
            raise invalid(f"Invalid update_mask provided in the request: {field!r} can't be changed.")
        part = raw_source
        for name in parents:  # a field of an absent message has its default
            part = getattr(part, name)
            part.SetInParent()
    mask.MergeMessage(raw_source, raw, replace_message_field=True, replace_repeated_field=True)
    return cast(Wire, changed)
