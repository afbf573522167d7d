"""GCP: Pub/Sub messages, as push subscriptions and Eventarc deliver them, and Eventarc's other CloudEvents.

There are three forms of a message: wrapped (a JSON envelope), unwrapped (the bare data, with metadata in headers), and
the CloudEvent that Eventarc makes of the message. This module does not read ``deliveryAttempt``, which is of a delivery
and not of the message.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec
from msgspec import Raw

from helios.errors import Rejected
from helios.model.events import MAX_ID_CHARS, Delivery, Event
from helios.normalise import cloudevents
from helios.normalise.beside import attributes_of
from helios.normalise.fields import Id, Name, Producer, Text, build, check_text, decode, explain
from helios.normalise.headers import UNWRAPPED
from helios.normalise.times import read_time

MESSAGE_PUBLISHED: Final = "google.cloud.pubsub.topic.v1.messagePublished"
"""The type of a message that has no type attribute, as in Google's own CloudEvents."""

ORDERING_KEY: Final = "orderingKey"

_PROJECT: Final = re.compile(r"(?://pubsub\.googleapis\.com/)?(projects/[^/]+)/(?:topics|subscriptions)/")

_PUBSUB: Final = "//pubsub.googleapis.com/"
"""How the source of Eventarc's CloudEvents of messages begins."""

_PRODUCER: Final = f"ce-{cloudevents.PRODUCER_EXTENSION}"

_PUSH_HEADER: Final = "x-goog-pubsub-"
_FIELDS: Final = frozenset(f"ce-{name}" for name in ("id", "source", "type", "time", "subject", "specversion"))
"""The attributes for which an event has a field."""

_TYPE_NAMES: Final = ("event_type", "eventType", "eventtype")
"""The plain attributes that name the type. Headers, as which unwrapped pushes send attributes, are in lower case."""

_ANY_ATTRIBUTE: Final = "attributes[...]"
"""How msgspec names the value of any attribute."""

_NO_MESSAGE: Final = (
    "is missing: send a wrapped push, or turn on 'Write metadata' for the unwrapped payloads of this subscription"
)


class _Message(msgspec.Struct):
    """Pub/Sub documentation, "PubsubMessage"; push also spells two names with an underscore."""

    data: str | None = None
    attributes: dict[str, str | None] | None = None
    messageId: str | None = None  # noqa: N815 - Google's spelling
    message_id: str | None = None
    publishTime: str | None = None  # noqa: N815 - Google's spelling
    publish_time: str | None = None
    orderingKey: str | None = None  # noqa: N815 - Google's spelling


class _Push(msgspec.Struct):
    """Pub/Sub documentation, "Push subscriptions", the wrapped form."""

    message: _Message | None = None
    subscription: Text | None = None


class _RawMessage(msgspec.Struct):
    attributes: dict[str, Raw]


class _RawPush(msgspec.Struct):
    """A push whose attributes may be of any type."""

    message: _RawMessage


class _Named(msgspec.Struct):
    """CloudEvents' Google Cloud Pub/Sub Protocol Binding, and common plain attribute names."""

    ce_id: Id | None = msgspec.field(default=None, name="ce-id")
    ce_source: Producer | None = msgspec.field(default=None, name="ce-source")
    ce_producer: Text | None = msgspec.field(default=None, name=_PRODUCER)
    ce_type: Name | None = msgspec.field(default=None, name="ce-type")
    ce_time: str | None = msgspec.field(default=None, name="ce-time")
    ce_subject: Text | None = msgspec.field(default=None, name="ce-subject")
    event_type: Name | None = None
    eventType: Name | None = None  # noqa: N815 - the sender's spelling
    eventtype: Name | None = None


class _Published(NamedTuple):
    """A message in any form.

    Attributes:
        id: its id, or empty.
        id_field: the sender's name of the id.
        time: when it was published, or empty.
        time_field: the sender's name of the time.
        attributes: its attributes.
        attributes_field: what precedes the name of an attribute in an error.
        content_type: the content type of the data, or empty.
        beside: what else stands beside the data.
        resource: the topic or subscription.
        data: the data.
        data_field: the sender's name of the data.
    """

    id: str
    id_field: str
    time: str
    time_field: str
    attributes: Mapping[str, str]
    attributes_field: str
    content_type: str
    beside: Mapping[str, str]
    resource: str
    data: bytes
    data_field: str


_push = msgspec.json.Decoder(_Push)
_raw_push = msgspec.json.Decoder(_RawPush)


def normalise(delivery: Delivery) -> Event:
    """The event in a Pub/Sub message, or in another CloudEvent of Eventarc.

    Raises:
        Rejected: the delivery has none of these forms, or its data is not base64 or not JSON.
    """
    if is_unwrapped(delivery):
        return _event_of(delivery, _unwrapped(delivery))
    if cloudevents.is_binary(delivery) or cloudevents.is_structured(delivery):
        content = cloudevents.read(delivery)
        if content.attributes.source.startswith(_PUBSUB) or content.attributes.type == MESSAGE_PUBLISHED:
            return _from_push(delivery, content)
        return cloudevents.event_of(delivery, content, "gcp")
    check_text(delivery.body)
    push = _read(delivery.body, within="")
    return _event_of(delivery, _wrapped(push, resource=push.subscription or "", time=None, beside={}))


def from_eventarc(delivery: Delivery, content: cloudevents.Content) -> Event | None:
    """The event in the message that a CloudEvent of Eventarc contains; None if it is of another kind.

    Raises:
        Rejected: its data is not a Pub/Sub message.
    """
    return _from_push(delivery, content) if content.attributes.type == MESSAGE_PUBLISHED else None


def _from_push(delivery: Delivery, content: cloudevents.Content) -> Event:
    push = _read(content.data, within="" if content.data_field == "body" else content.data_field)
    message = _wrapped(push, resource=content.attributes.source, time=content.attributes.time, beside=content.beside)
    return _event_of(delivery, message)


def _read(text: bytes, *, within: str) -> _Push:
    """The push in a JSON text.

    Raises:
        Rejected: see ``decode``; the name of an attribute that is no string is in the field.
    """
    try:
        return decode(_push, text, within=within)
    except Rejected as fault:
        if not fault.field.endswith(_ANY_ATTRIBUTE):
            raise
        attributes = decode(_raw_push, text).message.attributes
        name = next(name for name, value in attributes.items() if bytes(value)[:1] not in {b'"', b"n"})
        field = fault.field.removesuffix(_ANY_ATTRIBUTE) + f"attributes.{name}"
        raise Rejected(fault.reason, field=field) from fault


def is_unwrapped(delivery: Delivery) -> bool:
    """Whether the body is the data of the message, and everything else is in headers."""
    return UNWRAPPED in delivery.headers


def _wrapped(push: _Push, *, resource: str, time: str | None, beside: Mapping[str, str]) -> _Published:
    message = push.message
    if message is None:
        raise Rejected(_NO_MESSAGE, field="message")
    sent = message.attributes
    attributes = {name: value for name, value in sent.items() if value is not None} if sent else {}
    return _Published(
        id=message.messageId or message.message_id or "",
        id_field="message.messageId",
        time=message.publishTime or message.publish_time or time or "",
        time_field="message.publishTime",
        attributes=attributes,
        attributes_field="message.attributes.",
        content_type=attributes.get("content-type") or attributes.get("Content-Type") or "",
        beside={**beside, ORDERING_KEY: message.orderingKey} if message.orderingKey else beside,
        resource=resource,
        data=cloudevents.decode_base64(message.data or "", field="message.data"),
        data_field="message.data",
    )


def _unwrapped(delivery: Delivery) -> _Published:
    """Read the unwrapped form: Pub/Sub documentation, "Payload unwrapping for Pub/Sub messages", with metadata."""
    check_text(delivery.body)
    headers = delivery.headers
    key = headers.get(f"{_PUSH_HEADER}ordering-key", "")
    return _Published(
        id=headers[UNWRAPPED],
        id_field=f"header {UNWRAPPED}",
        time=headers.get(f"{_PUSH_HEADER}publish-time", ""),
        time_field=f"header {_PUSH_HEADER}publish-time",
        attributes={
            name: cloudevents.read_header(value, field=f"header {name}") if name.startswith("ce-") else value
            for name, value in headers.items()
            if name != "content-type" and not name.startswith(_PUSH_HEADER)
        },
        attributes_field="header ",
        content_type=headers.get("content-type", ""),
        beside={ORDERING_KEY: key} if key else {},
        resource=headers.get(f"{_PUSH_HEADER}subscription-name", ""),
        data=delivery.body,
        data_field="body",
    )


def _event_of(delivery: Delivery, message: _Published) -> Event:
    if cloudevents.names_cloudevent(message.content_type):
        return _structured(delivery, message)
    named = _named(message)
    identity = named.ce_id or message.id
    if not identity:
        raise Rejected("is missing", field=message.id_field)
    if len(identity) > MAX_ID_CHARS:
        raise Rejected(f"is longer than {MAX_ID_CHARS} characters", field=message.id_field)
    type_ = named.ce_type or named.event_type or named.eventType or named.eventtype or MESSAGE_PUBLISHED
    time, time_field = message.time, message.time_field
    if named.ce_time:
        time, time_field = named.ce_time, f"{message.attributes_field}ce-time"
    return build(
        delivery,
        source="gcp",
        id=identity,
        type=type_,
        subject=named.ce_subject,
        # Google's emulator pushes no time of publication.
        time=read_time(time, field=time_field) if time else None,
        producer=_producer(named, message),
        # A message may have attributes only; then they are its content. Pub/Sub delivers them in any order.
        data=message.data or msgspec.json.encode(message.attributes, order="sorted"),
        data_field=message.data_field,
        attributes=_beside(message, type_),
    )


def _named(message: _Published) -> _Named:
    """The attributes that Helios reads. One that is empty, as a template leaves it, is none.

    Only Helios itself sends an empty producer.
    """
    given = {name: value for name, value in message.attributes.items() if value or name == _PRODUCER}
    try:
        return msgspec.convert(given, _Named)
    except msgspec.ValidationError as error:
        reason, field = explain(str(error))
        raise Rejected(reason, field=message.attributes_field + field) from error


def _structured(delivery: Delivery, message: _Published) -> Event:
    """The CloudEvent in the data of a message (Pub/Sub Protocol Binding for CloudEvents, section 3.2)."""
    if message.content_type.strip().lower().startswith(cloudevents.BATCH_FORMATS):
        raise Rejected("is a batch: publish each event as a message", field=f"{message.attributes_field}content-type")
    within = "" if message.data_field == "body" else message.data_field
    content = cloudevents.read_structured(message.data, within=within)
    beside = {**content.beside, **_beside(message, content.attributes.type)}
    if content.attributes.time is None and message.time:
        content.attributes.time = message.time
    return cloudevents.event_of(delivery, content._replace(beside=beside), "gcp")


def _beside(message: _Published, type_: str) -> dict[str, str]:
    """What stands beside the data of a message, without the attributes that are fields of its event."""
    if not message.attributes and not message.beside:
        return {}
    sent = {
        name.removeprefix("ce-"): value
        for name, value in message.attributes.items()
        if name not in _FIELDS
        and not (name in _TYPE_NAMES and value in {"", type_})
        and not (name.lower() == "content-type" and value == message.content_type)
    }
    return attributes_of(cloudevents.without_marks(sent), message.beside)


def _producer(named: _Named, message: _Published) -> str:
    """The producer: the message's own if it also names the id, or else the project of its topic or subscription.

    A message id is unique within its topic, but a push names the subscription only, and each subscription of the topic
    delivers the same message.
    """
    if named.ce_id and named.ce_source:
        return named.ce_source if named.ce_producer is None else named.ce_producer
    project = _PROJECT.match(message.resource)
    return f"//pubsub.googleapis.com/{project[1]}" if project else message.resource
