"""Turns what a cloud delivers into an ``Event``: one module per channel.

``tests/payloads`` has example inputs of each channel, each beside the event that it becomes.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime

import msgspec

from helios.errors import UNREADABLE, Rejected
from helios.model.events import Channel, Delivery, Event, Fault
from helios.normalise import cloudevents, eventbridge, eventgrid, pubsub

NORMALISERS: dict[Channel, Callable[[Delivery], Event]] = {
    "eventbridge": eventbridge.normalise,
    "pubsub": pubsub.normalise,
    "eventgrid": eventgrid.normalise,
    "cloudevents": cloudevents.normalise,
}

MAX_ELEMENTS = 5000
"""Maximum events in one request: Event Grid sends at most 5000 (Azure Event Grid documentation, "Output batching"). An
element of two bytes costs about 2 KB on its way to Postgres, so that the limit on bytes is none for elements."""

_elements = msgspec.json.Decoder(list[msgspec.Raw])


def normalise(delivery: Delivery) -> Event:
    """The event in a delivery.

    Raises:
        Rejected: there is no valid event in it; the error names the field and says what to do.
    """
    if fault := delivery.fault:
        raise Rejected(fault.reason, field=fault.field, status=fault.status)
    return NORMALISERS[delivery.channel](delivery)


def split(channel: Channel, body: bytes, headers: Mapping[str, str], received_at: datetime) -> list[Delivery]:
    """One delivery for each event in a request. Batches of Event Grid and CloudEvents are JSON arrays.

    A body that can't be split, or has more than MAX_ELEMENTS, is one delivery; ``normalise`` then rejects it with the
    reason. In binary mode an array is the data of one event.
    """
    bodies, fault = [body], None
    may_be_batch = channel in {"eventgrid", "cloudevents"} and not cloudevents.is_binary_mode(headers)
    if may_be_batch and body.lstrip()[:1] == b"[":
        with suppress(*UNREADABLE):  # then normalise rejects the whole body with the reason
            elements = _elements.decode(body)
            if len(elements) > MAX_ELEMENTS:
                reason = f"has {len(elements)} elements: send at most {MAX_ELEMENTS} at once"
                fault = Fault(reason=reason, field="body", status=413)
            else:
                bodies = [bytes(element) for element in elements] or bodies
    return [
        Delivery(channel=channel, body=part, headers=headers, received_at=received_at, fault=fault) for part in bodies
    ]
