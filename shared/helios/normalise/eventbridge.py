"""AWS: EventBridge events, bare or in an Amazon SNS notification (as SQS and HTTPS endpoints receive them)."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from helios.errors import UNREADABLE, Rejected, quote
from helios.model.events import Delivery, Event
from helios.normalise.beside import as_text, attributes_of, listed, of_message
from helios.normalise.fields import Id, Name, Text, build, check_text, decode
from helios.normalise.replay_marks import PREFIX, original
from helios.normalise.times import read_time

MAX_NOTIFICATIONS: Final = 3
"""How many SNS notifications may be in one another: a topic may forward to a queue that a pipe forwards."""

S3_POINTER: Final = b"payloadoffloading.PayloadS3Pointer"
"""Amazon's extended clients for SQS and SNS store a large body in S3, and send an array with this word and its key."""


class _EventBridgeEvent(msgspec.Struct):
    """Amazon EventBridge User Guide, "Event structure reference"."""

    id: Id
    detail_type: Name = msgspec.field(name="detail-type")
    source: Text
    time: str
    detail: Raw
    account: Text = ""
    region: Text = ""
    resources: Raw = Raw()
    replay_name: Raw = msgspec.field(name="replay-name", default=Raw())


class _SnsMessage(msgspec.Struct, rename="pascal"):
    """Amazon SNS Developer Guide, "HTTP/HTTPS notification JSON format"."""

    type: str = ""
    message: str = ""
    topic_arn: str = ""
    subject: str | None = None
    message_attributes: dict[str, dict[str, Any]] | None = None


_event = msgspec.json.Decoder(_EventBridgeEvent)
_sns = msgspec.json.Decoder(_SnsMessage)


def normalise(delivery: Delivery) -> Event:
    """The event in an EventBridge event, or in an SNS notification of one.

    Raises:
        Rejected: the delivery is neither, or is the request to confirm an SNS subscription.
    """
    text, within = delivery.body, ""
    beside = of_message(delivery.headers)
    while (message := _notification(text)) is not None:
        beside = attributes_of(beside, _of_notification(message)) if beside else _of_notification(message)
        text, within = message.message.encode(), f"{within}.Message" if within else "Message"
        if within.count("Message") > MAX_NOTIFICATIONS:
            raise Rejected(f"is an SNS notification in {MAX_NOTIFICATIONS} others: send the event", field=within)
    return _from_event(delivery, text, within=within, beside=beside)


def _from_event(delivery: Delivery, text: bytes, *, within: str, beside: Mapping[str, str]) -> Event:
    check_text(text, field=within or "body")
    if text.lstrip().startswith(b"[") and S3_POINTER in text:
        raise Rejected(
            "is a pointer to a body in Amazon S3, which Helios does not read: send the event itself",
            field=within or "body",
        )
    event = decode(_event, text, within=within)
    before = original(text)
    prefix = f"{within}." if within else ""
    return build(
        delivery,
        source="aws",
        producer=before.producer if before else f"{event.source}/{event.account}/{event.region}",
        id=before.id if before else event.id,
        type=event.detail_type,
        subject=before.subject if before else None,
        time=before.time if before else read_time(event.time, field=f"{prefix}time"),
        data=bytes(event.detail),
        data_field=f"{prefix}detail",
        attributes=before.attributes if before else attributes_of(_of_event(event), beside),
    )


def _of_event(event: _EventBridgeEvent) -> dict[str, str]:
    """What an event says beside its detail. The mark of a replay is one of the resources."""
    attributes = {}
    if len(event.resources) > len("[]") and (resources := listed(event.resources, without=PREFIX)):
        attributes["resources"] = resources
    if event.replay_name and (name := as_text(event.replay_name)):
        attributes["replay-name"] = name
    return attributes


def _of_notification(message: _SnsMessage) -> dict[str, str]:
    """What a notification says beside its message."""
    own = {"TopicArn": message.topic_arn}
    if message.subject:
        own["Subject"] = message.subject
    if not message.message_attributes:
        return own
    sent = {
        name: value
        for name, attribute in message.message_attributes.items()
        if isinstance(value := attribute.get("Value"), str)
    }
    return attributes_of(sent, own)


def _notification(body: bytes) -> _SnsMessage | None:
    """The SNS notification in a text; None if it is none."""
    if b'"TopicArn"' not in body:
        return None
    try:
        message = _sns.decode(body)
    except UNREADABLE:
        return None  # not a notification: the caller reads the body as an event, and reports what is wrong with it
    if not message.topic_arn:
        return None
    if message.type == "Notification":
        return message
    if message.type in {"SubscriptionConfirmation", "UnsubscribeConfirmation"}:
        raise Rejected(
            f"is {message.type!r}, and Helios does not follow links in a request: confirm the subscription to "
            f"{quote(message.topic_arn)} with the token in this dead letter",
            field="Type",
        )
    return None
