"""From what a cloud delivers to an Event: one table of contracts, one module per contract.

Each contract's input and the Event it becomes lie side by side in ``tests/payloads``.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime

import msgspec

from helios.errors import UNREADABLE, Rejected
from helios.model.events import Channel, Delivery, Event
from helios.normalise import cloudevents, eventbridge, eventgrid, pubsub

NORMALISERS: dict[Channel, Callable[[Delivery], Event]] = {
    "eventbridge": eventbridge.normalise,
    "pubsub": pubsub.normalise,
    "eventgrid": eventgrid.normalise,
    "cloudevents": cloudevents.normalise,
}

_elements = msgspec.json.Decoder(list[msgspec.Raw])


def normalise(delivery: Delivery) -> Event:
    """The Event that a delivery carries.

    Raises:
        Rejected: it carries none; the error names the field and says what to do.
    """
    if fault := delivery.fault:
        raise Rejected(fault.reason, field=fault.field, status=fault.status)
    return NORMALISERS[delivery.channel](delivery)


def split(channel: Channel, body: bytes, headers: Mapping[str, str], received_at: datetime) -> list[Delivery]:
    """One delivery for each event in a request: Event Grid and CloudEvents batches are JSON arrays.

    A body that can't be split is one delivery, so that normalising it says what is wrong. In binary mode an array is
    the data of one event.
    """
    bodies = [body]
    may_be_batch = channel in {"eventgrid", "cloudevents"} and not cloudevents.is_binary_mode(headers)
    if may_be_batch and body.lstrip()[:1] == b"[":
        with suppress(*UNREADABLE):  # then normalising the whole names the fault
            bodies = [bytes(element) for element in _elements.decode(body)] or bodies
    return [Delivery(channel=channel, body=part, headers=headers, received_at=received_at) for part in bodies]
