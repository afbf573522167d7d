"""AWS: EventBridge events, bare or in an Amazon SNS notification (as SQS and HTTPS endpoints receive them)."""

import msgspec
from msgspec import Raw

from helios.errors import UNREADABLE, Rejected
from helios.model.events import Delivery, Event
from helios.normalise.fields import Id, Name, Text, Time, build, check_text, decode
from helios.normalise.replay_marks import original


class _EventBridgeEvent(msgspec.Struct):
    """Amazon EventBridge User Guide, "Event structure reference"."""

    id: Id
    detail_type: Name = msgspec.field(name="detail-type")
    source: Text
    time: Time
    detail: Raw
    account: Text = ""
    region: Text = ""


class _SnsMessage(msgspec.Struct, rename="pascal"):
    """Amazon SNS Developer Guide, "HTTP/HTTPS notification JSON format"."""

    type: str = ""
    message: str = ""
    topic_arn: str = ""


_event = msgspec.json.Decoder(_EventBridgeEvent)
_sns = msgspec.json.Decoder(_SnsMessage)


def normalise(delivery: Delivery) -> Event:
    """The event in an EventBridge event, or in an SNS notification of one.

    Raises:
        Rejected: the delivery is neither, or is the request to confirm an SNS subscription.
    """
    if (notification := _notification(delivery.body)) is not None:
        return _from_event(delivery, notification, within="Message")
    return _from_event(delivery, delivery.body, within="")


def _from_event(delivery: Delivery, text: bytes, *, within: str) -> Event:
    check_text(text, field=within or "body")
    event = decode(_event, text, within=within)
    before = original(text)
    return build(
        delivery,
        source="aws",
        id=before.id if before else event.id,
        type=event.detail_type,
        subject=before.subject if before else None,
        time=before.time if before else event.time,
        origin=f"{event.source}/{event.account}/{event.region}",
        data=bytes(event.detail),
        data_field=f"{within}.detail" if within else "detail",
    )


def _notification(body: bytes) -> bytes | None:
    """The message in an SNS notification; None if the body is not a notification."""
    try:
        message = _sns.decode(body)
    except UNREADABLE:
        return None  # not a notification: the caller reads the body as an event, and reports what is wrong with it
    if not message.topic_arn:
        return None
    if message.type == "Notification":
        return message.message.encode()
    if message.type in {"SubscriptionConfirmation", "UnsubscribeConfirmation"}:
        raise Rejected(
            f"is {message.type!r}, and Helios does not follow links in a request: confirm the subscription to "
            f"{message.topic_arn!r} with the token in this dead letter",
            field="Type",
        )
    return None
