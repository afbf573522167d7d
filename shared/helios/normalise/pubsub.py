"""GCP: Pub/Sub messages, as push subscriptions and Cloud Functions deliver them.

There are three forms: wrapped (a JSON envelope), unwrapped (the bare data, with metadata in headers), and the
CloudEvent that Eventarc makes of the message. This module does not need ``subscription``, ``orderingKey`` or
``deliveryAttempt``, because functions-framework drops them.
"""

from datetime import datetime

import msgspec

from helios.errors import Rejected
from helios.model.events import MAX_ID_CHARS, Delivery, Event
from helios.normalise import cloudevents
from helios.normalise.fields import Id, Name, Text, Time, build, check_text, decode, explain

MESSAGE_PUBLISHED = "google.cloud.pubsub.topic.v1.messagePublished"
"""The type of a message that has no type attribute, as in Google's own CloudEvents."""

_PUSH_HEADER = "x-goog-pubsub-"
_MESSAGE_ID_HEADER = f"{_PUSH_HEADER}message-id"


class _Message(msgspec.Struct):
    """Pub/Sub documentation, "PubsubMessage"; push also spells two names with an underscore."""

    data: str = ""
    attributes: dict[str, str] = {}
    messageId: str = ""  # noqa: N815 - Google's spelling
    message_id: str = ""
    publishTime: Time | None = None  # noqa: N815 - Google's spelling
    publish_time: Time | None = None


class _Push(msgspec.Struct):
    """Pub/Sub documentation, "Push subscriptions", the wrapped form."""

    message: _Message
    subscription: Text = ""


class _Attributes(msgspec.Struct):
    """CloudEvents' Google Cloud Pub/Sub Protocol Binding, and common plain attribute names."""

    ce_id: Id | None = msgspec.field(default=None, name="ce-id")
    ce_type: Name | None = msgspec.field(default=None, name="ce-type")
    ce_time: Time | None = msgspec.field(default=None, name="ce-time")
    ce_subject: Text | None = msgspec.field(default=None, name="ce-subject")
    event_type: Name | None = None
    eventType: Name | None = None  # noqa: N815 - the sender's spelling


_push = msgspec.json.Decoder(_Push)


def normalise(delivery: Delivery) -> Event:
    """The event in a Pub/Sub message, in any form that Google delivers.

    Raises:
        Rejected: the delivery has none of these forms, or its data is not base64 or not JSON.
    """
    if is_unwrapped(delivery):
        return _from_unwrapped(delivery)
    if (binary := cloudevents.is_binary(delivery)) or cloudevents.is_structured(delivery):
        attributes, data, _ = cloudevents.read(delivery)
        push = decode(_push, data, within="" if binary else "data")
        return _from_message(delivery, push.message, origin=attributes.source, time=attributes.time)
    check_text(delivery.body)
    push = decode(_push, delivery.body)
    return _from_message(delivery, push.message, origin=push.subscription, time=None)


def is_unwrapped(delivery: Delivery) -> bool:
    """Whether the body is the data of the message, and everything else is in headers."""
    return _MESSAGE_ID_HEADER in delivery.headers


def _from_message(delivery: Delivery, message: _Message, *, origin: str, time: datetime | None) -> Event:
    data = cloudevents.decode_base64(message.data, field="message.data")
    return _build(
        delivery,
        message_id=message.messageId or message.message_id,
        id_field="message.messageId",
        publish_time=message.publishTime or message.publish_time or time,
        time_field="message.publishTime",
        attributes=message.attributes,
        attributes_field="message.attributes.",
        origin=origin,
        data=data,
        data_field="message.data",
    )


def _from_unwrapped(delivery: Delivery) -> Event:
    """Read the unwrapped form: Pub/Sub documentation, "Payload unwrapping for Pub/Sub messages", with metadata."""
    check_text(delivery.body)
    headers = delivery.headers
    try:
        published = msgspec.convert(headers.get(f"{_PUSH_HEADER}publish-time"), Time | None, strict=False)
    except msgspec.ValidationError as error:
        raise Rejected(explain(str(error))[0], field=f"header {_PUSH_HEADER}publish-time") from error
    return _build(
        delivery,
        message_id=headers[_MESSAGE_ID_HEADER],
        id_field=f"header {_MESSAGE_ID_HEADER}",
        publish_time=published,
        time_field=f"header {_PUSH_HEADER}publish-time",
        attributes={
            name: value
            for name, value in headers.items()
            if name != "content-type" and not name.startswith(_PUSH_HEADER)
        },
        attributes_field="header ",
        origin=headers.get(f"{_PUSH_HEADER}subscription-name", ""),
        data=delivery.body,
        data_field="body",
    )


def _build(
    delivery: Delivery,
    *,
    message_id: str,
    id_field: str,
    publish_time: datetime | None,
    time_field: str,
    attributes: dict[str, str],
    attributes_field: str,
    origin: str,
    data: bytes,
    data_field: str,
) -> Event:
    try:
        named = msgspec.convert(attributes, _Attributes, strict=False)
    except msgspec.ValidationError as error:
        reason, field = explain(str(error))
        raise Rejected(reason, field=attributes_field + field) from error
    if not (identity := named.ce_id or message_id):
        raise Rejected("is missing", field=id_field)
    if len(identity) > MAX_ID_CHARS:
        raise Rejected(f"is longer than {MAX_ID_CHARS} characters", field=id_field)
    if not (time := named.ce_time or publish_time):
        raise Rejected("is missing", field=time_field)
    return build(
        delivery,
        source="gcp",
        id=identity,
        type=named.ce_type or named.event_type or named.eventType or MESSAGE_PUBLISHED,
        subject=named.ce_subject,
        time=time,
        origin=origin,
        # A message may have attributes only; then they are its content.
        data=data or msgspec.json.encode(attributes),
        data_field=data_field,
    )
