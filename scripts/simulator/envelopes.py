"""Wraps events in the envelopes that each cloud posts to a webhook."""

import base64
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Raw

from helios.model.sources import Source

from .plan import Emission
from .poisons import ENVELOPE_POISONS

EVENT_SOURCE = "helios.shop"
"""The publisher: EventBridge's ``source``, and the ``source`` attribute of a CloudEvent."""

_ACCOUNT = "123456789012"
_REGION = "us-east-1"
_SUBSCRIPTION = "projects/helios-shop/subscriptions/helios-events-push"
_TOPIC = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/helios"
    "/providers/Microsoft.EventGrid/topics/helios-events"
)
_MESSAGE_IDS = 10**16


class _EventBridge(msgspec.Struct, rename={"detail_type": "detail-type"}):
    """The fields of an event, as "EventBridge event structure reference" lists them."""

    version: str
    id: str
    detail_type: str
    source: str
    account: str
    time: str
    region: str
    resources: list[str]
    detail: Raw


class _Message(msgspec.Struct):
    """A message as in "Push subscriptions": Pub/Sub sends both spellings of the id and the time."""

    attributes: dict[str, str]
    data: str
    messageId: str  # noqa: N815 - the sender's spelling
    message_id: str
    publishTime: str  # noqa: N815 - the sender's spelling
    publish_time: str


class _Push(msgspec.Struct):
    message: _Message
    subscription: str


class _EventGrid(msgspec.Struct, rename="camel"):
    """The fields of an event, as "Azure Event Grid event schema" lists them."""

    id: str
    topic: str
    subject: str
    event_type: str
    event_time: str
    data: Raw
    data_version: str
    metadata_version: str


def timestamp(moment: datetime) -> str:
    """The UTC instant in RFC 3339, to the microsecond."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def cloudevent_attributes(emission: Emission) -> dict[str, str]:
    """The message attributes of a CloudEvent ("Google Cloud Pub/Sub Protocol Binding", binary mode).

    Pub/Sub assigns a new id to every message; ``ce-id`` stays the same when a message is published again.
    """
    return {
        "ce-specversion": "1.0",
        "ce-id": emission.id,
        "ce-type": emission.type,
        "ce-source": f"//{EVENT_SOURCE}",
        "ce-subject": emission.subject,
        "ce-time": timestamp(emission.time),
        "ce-datacontenttype": "application/json",
    }


def eventbridge(emission: Emission) -> bytes:
    """An EventBridge event as an API destination posts it, with a time in whole seconds."""
    event = _EventBridge(
        version="0",
        id=emission.id,
        detail_type=emission.type,
        source=EVENT_SOURCE,
        account=_ACCOUNT,
        time=emission.time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        region=_REGION,
        resources=[],
        detail=Raw(emission.data),
    )
    return msgspec.json.encode(event)


def pubsub(emission: Emission) -> bytes:
    """A Pub/Sub message as a push subscription posts it, wrapped."""
    message_id = f"{UUID(emission.id).int % _MESSAGE_IDS:016}"
    published = timestamp(emission.time)
    message = _Message(
        attributes=cloudevent_attributes(emission),
        data=base64.b64encode(emission.data).decode(),
        messageId=message_id,
        message_id=message_id,
        publishTime=published,
        publish_time=published,
    )
    return msgspec.json.encode(_Push(message=message, subscription=_SUBSCRIPTION))


def eventgrid(emission: Emission) -> bytes:
    """An Event Grid delivery: an array of one event in the Event Grid schema."""
    event = _EventGrid(
        id=emission.id,
        topic=_TOPIC,
        subject=emission.subject,
        event_type=emission.type,
        event_time=timestamp(emission.time),
        data=Raw(emission.data),
        data_version="1.0",
        metadata_version="1",
    )
    return msgspec.json.encode([event])


_WRAP = {"aws": eventbridge, "gcp": pubsub, "azure": eventgrid}


def body(emission: Emission) -> bytes:
    """The body that the cloud would post to a webhook, malformed if the event has an envelope poison."""
    wrapped = _WRAP[emission.source](emission)
    malform = ENVELOPE_POISONS.get(emission.poison or "")
    return malform(wrapped) if malform else wrapped


PRODUCERS: dict[Source, str] = {
    "aws": f"{EVENT_SOURCE}/{_ACCOUNT}/{_REGION}",
    "gcp": f"//{EVENT_SOURCE}",
    "azure": _TOPIC,
}
"""The producer of the event in each cloud's body."""

PATHS: dict[Source, str] = {
    "aws": "/api/v1/webhooks/aws/eventbridge",
    "gcp": "/api/v1/webhooks/gcp/pubsub",
    "azure": "/api/v1/webhooks/azure/eventgrid",
}
"""The path of Helios' webhook for each cloud."""
