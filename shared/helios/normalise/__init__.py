"""Turns what a cloud delivers into an ``Event``: one module per channel.

``tests/payloads`` has example inputs of each channel, each beside the event that it becomes.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

import msgspec

from helios.errors import UNREADABLE, Rejected
from helios.model.balances import MANIFEST_TYPE
from helios.model.events import Channel, Delivery, Event, Fault
from helios.model.sources import SourceDeclaration
from helios.normalise import cloudevents, eventbridge, eventgrid, pubsub, scan, webhook
from helios.normalise.fields import BOM
from helios.normalise.manifests import check_manifest


def _cloudevent(delivery: Delivery) -> Event:
    """The event in a CloudEvent, or in the Pub/Sub message that a CloudEvent of Eventarc contains."""
    if delivery.declaration:
        return cloudevents.normalise(delivery)
    content = cloudevents.read(delivery)
    return pubsub.from_eventarc(delivery, content) or cloudevents.event_of(delivery, content, None)


NORMALISERS: dict[Channel, Callable[[Delivery], Event]] = {
    "eventbridge": eventbridge.normalise,
    "pubsub": pubsub.normalise,
    "eventgrid": eventgrid.normalise,
    "cloudevents": _cloudevent,
    "webhook": webhook.normalise,
}

_PAYLOAD_FIELD: Final[Mapping[Channel, str]] = {
    "eventbridge": "detail",
    "pubsub": "message.data",
    "eventgrid": "data",
    "cloudevents": "data",
    "webhook": "body",
}

MAX_ELEMENTS = 5000
"""Maximum events in one request: Event Grid sends at most 5000 (Azure Event Grid documentation, "Output batching"). An
element of two bytes costs about 2 KB on its way to Postgres, so that the limit on bytes is none for elements."""

FEW_COMMAS = 10 * MAX_ELEMENTS
"""An array with fewer commas has few enough elements to be decoded at once."""

BODY_BYTES: Final[Mapping[Channel, int]] = {
    # An event of 1 MB, or the SNS notification of one, in which each quote is escaped.
    "eventbridge": 2 * 1024 * 1024,
    # A message of 10 MB, in base64, with 100 attributes of 1280 bytes.
    "pubsub": 15 * 1024 * 1024,
    # Events of 1 MB, in a request of 1.5 MB.
    "eventgrid": 3 * 512 * 1024,
    "cloudevents": 1024 * 1024,
    "webhook": 1024 * 1024,
}
"""The largest body that a cloud sends to its channel (the quotas of Amazon EventBridge, Pub/Sub and Event Grid)."""

LARGEST_BODY_BYTES: Final = max(BODY_BYTES.values())

_elements = msgspec.json.Decoder(list[msgspec.Raw])


_decode_at = json.JSONDecoder().raw_decode
_between = re.compile(r"[ \t\n\r]*,[ \t\n\r]*")
_begin = re.compile(r"[ \t\n\r]*\[[ \t\n\r]*")


def normalise(delivery: Delivery) -> Event:
    """The event in a delivery.

    Raises:
        Rejected: there is no valid event in it; the error names the field and says what to do.
    """
    if fault := delivery.fault:
        raise Rejected(fault.reason, field=fault.field, status=fault.status)
    if delivery.body.startswith(BOM):
        delivery = msgspec.structs.replace(delivery, body=delivery.body.removeprefix(BOM))
    event = NORMALISERS[delivery.channel](delivery)
    if event.type == MANIFEST_TYPE:
        check_manifest(event, field=_payload_field(delivery))
    return event


def _payload_field(delivery: Delivery) -> str:
    """Where the payload stands in a delivery, in the sender's spelling."""
    if cloudevents.is_binary(delivery) or pubsub.is_unwrapped(delivery):
        return "body"
    if cloudevents.is_structured(delivery):
        return "data"
    return _PAYLOAD_FIELD[delivery.channel]


def split(
    channel: Channel,
    body: bytes,
    headers: Mapping[str, str],
    received_at: datetime,
    declaration: SourceDeclaration | None = None,
) -> list[Delivery]:
    """One delivery for each event in a request; none for an empty array.

    Event Grid, CloudEvents and some webhooks send batches as JSON arrays, and so do pipes of EventBridge. An element
    that is no JSON is a delivery of its own. A body that can't be split, or has more than MAX_ELEMENTS, is one
    delivery; ``normalise`` then rejects it with the reason. In binary mode an array is the data of one event.
    """
    bodies: list[bytes] = [body]
    fault = None
    if channel != "pubsub" and not cloudevents.is_binary_mode(headers):
        elements = _batch(body)
        if elements is None:
            reason = f"has more than {MAX_ELEMENTS} elements: send at most {MAX_ELEMENTS} at once"
            fault = Fault(reason=reason, field="body", status=413)
        else:
            bodies = elements
    return [
        Delivery(
            channel=channel,
            body=part,
            headers=headers,
            received_at=received_at,
            fault=fault,
            declaration=declaration,
        )
        for part in bodies
    ]


def _batch(body: bytes) -> list[bytes] | None:
    """The elements of a JSON array; the body if it is no array, or one that can't be divided; None for too many."""
    text = body.removeprefix(BOM).lstrip()
    if text[:1] != b"[" or eventbridge.S3_POINTER in text:
        return [body]
    try:
        if text.count(b",") >= FEW_COMMAS and _has_more_elements(text, MAX_ELEMENTS):
            return None
        elements: list[bytes] | None = [bytes(element) for element in _elements.decode(text)]
    except UNREADABLE:
        elements = scan.elements(text, limit=MAX_ELEMENTS)
    if elements is None:
        return [body]
    return None if len(elements) > MAX_ELEMENTS else elements


def _has_more_elements(body: bytes, limit: int) -> bool:
    """Whether a JSON array has more elements; False if it ends, or stops being JSON, before that.

    It stops after the limit: decoding half a million elements of two bytes each, only to count them, would hold up all
    requests for a tenth of a second.
    """
    text = body.decode()
    separator = _begin.match(text)
    for _ in range(limit + 1):
        if separator is None:
            return False
        try:
            _, end = _decode_at(text, separator.end())
        except ValueError:  # not JSON, or a number that Python does not read
            return False
        separator = _between.match(text, end)
    return True
