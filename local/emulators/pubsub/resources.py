"""The settings of topics and subscriptions: defaults, limits, and changes by a field mask."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from google.protobuf.field_mask_pb2 import FieldMask
from google.pubsub_v1 import types

from local.emulators.pubsub.errors import invalid, out_of_range
from local.emulators.pubsub.filters import BadFilter, parse
from local.emulators.pubsub.subscription import DEFAULT_ATTEMPTS, Policy

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
"""The retention that Pub/Sub shows for a subscription that sets none; a snapshot has at most this age."""
ATTEMPTS_RANGE = range(5, 101)
DEFAULT_MINIMUM_BACKOFF, DEFAULT_MAXIMUM_BACKOFF = timedelta(seconds=10), timedelta(seconds=600)
"""Defaults in a retry policy; without a policy, a message is redelivered at once (pull) or after push backoff."""
PUSH_MINIMUM_BACKOFF, PUSH_MAXIMUM_BACKOFF = 0.1, 60.0
"""Pub/Sub documentation, "Push subscriptions", "Push backoff"."""

_UNCHANGEABLE = {
    types.Topic: frozenset({"name", "state", "satisfies_pzs"}),
    types.Subscription: frozenset(
        {
            *("name", "topic", "filter", "enable_message_ordering"),
            *("detached", "state", "topic_message_retention_duration", "analytics_hub_subscription_info"),
        }
    ),
    types.Snapshot: frozenset({"name", "topic"}),
}
"""By type: the fields that never change, and those that only the service sets ("output only" in the API)."""

Wire = TypeVar("Wire", types.Topic, types.Subscription, types.Snapshot)


def check_messages(messages: Sequence[Any]) -> None:
    """Return if these messages, in raw protobuf, may be published in one request.

    Raises:
        Refused: INVALID_ARGUMENT, they are too many, too large, or one of them is empty.
    """
    if not 0 < len(messages) <= MAX_MESSAGES_PER_PUBLISH:
        raise invalid(f"A publish request has 1 to {MAX_MESSAGES_PER_PUBLISH} messages, not {len(messages)}.")
    if sum(len(message.data) for message in messages) > MAX_PUBLISH_BYTES:
        raise invalid(f"A publish request has at most {MAX_PUBLISH_BYTES} bytes.")
    for message in messages:
        _check_message(message)


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


def new_topic(wire: types.Topic) -> types.Topic:
    """A copy with the values that the service sets."""
    topic = copy(wire)
    topic.state = types.Topic.State.ACTIVE
    topic.satisfies_pzs = False
    return topic


def new_subscription(wire: types.Subscription) -> types.Subscription:
    """A copy with the values that the service sets, whatever the client put there."""
    subscription = copy(wire)
    subscription.detached = False
    subscription.state = types.Subscription.State.ACTIVE
    subscription.topic_message_retention_duration = None
    subscription.analytics_hub_subscription_info = None
    return subscription


def with_defaults(wire: types.Subscription) -> types.Subscription:
    """A copy with Pub/Sub's defaults for unset fields."""
    full = copy(wire)
    if "push_config" not in wire:
        full.push_config = types.PushConfig()  # Node's client reads a field of it without asking whether it is there
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


def policy_of(wire: types.Subscription) -> Policy:
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
        one_per_key=bool(wire.push_config.push_endpoint),
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
    if "dead_letter_policy" not in wire:
        return None
    policy = wire.dead_letter_policy
    if not policy.dead_letter_topic:
        raise invalid("dead_letter_policy needs a dead_letter_topic.")
    attempts: int = policy.max_delivery_attempts
    if attempts not in ATTEMPTS_RANGE:
        raise out_of_range("max_delivery_attempts", attempts, ATTEMPTS_RANGE)
    return attempts


def updated(old: Wire, new: Wire, fields: Sequence[str]) -> Wire:
    """A copy of ``old`` with these fields of ``new`` (a field mask: ``labels``, ``push_config.push_endpoint``).

    Raises:
        Refused: a field does not exist, or can't be changed.
    """
    if not fields:
        raise invalid("The update_mask in the request is empty.")
    mask = FieldMask(paths=fields)
    changed, source = copy(old), copy(new)
    raw, raw_source = type(old).pb(changed), type(old).pb(source)
    for field in fields:
        *parents, _ = names = field.split(".")
        known = FieldMask(paths=[field]).IsValidForDescriptor(raw.DESCRIPTOR)
        if names[0] in _UNCHANGEABLE[type(old)] or not known:
            raise invalid(f"Invalid update_mask provided in the request: {field!r} can't be changed.")
        part = raw_source
        for name in parents:  # a field of an absent message has its default
            part = getattr(part, name)
            part.SetInParent()
    mask.MergeMessage(raw_source, raw, replace_message_field=True, replace_repeated_field=True)
    return changed


def copy(wire: Wire) -> Wire:
    """A deep copy."""
    return cast(Wire, type(wire).deserialize(type(wire).serialize(wire)))
