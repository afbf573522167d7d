"""Short functions that make deliveries."""

import json
from datetime import UTC, datetime
from typing import Any

from helios.model.events import Delivery, Key
from tests.support.envelopes import EVENTBRIDGE_PRODUCER, EVENTGRID_PRODUCER, eventbridge_event, eventgrid_event

NOON = datetime(2025, 11, 26, 12, 0, tzinfo=UTC)


def eventbridge(
    id_: str = "1", *, type_: str = "OrderPlaced", received_at: datetime = NOON, detail: Any = None
) -> Delivery:
    """An EventBridge delivery."""
    event = eventbridge_event(id_, detail=detail, detail_type=type_)
    return Delivery(channel="eventbridge", body=json.dumps(event).encode(), received_at=received_at)


def eventgrid(id_: str = "1", *, received_at: datetime = NOON, data: Any = None) -> Delivery:
    """An Event Grid delivery."""
    event = eventgrid_event(id_, data=data)
    return Delivery(channel="eventgrid", body=json.dumps(event).encode(), received_at=received_at)


def aws_key(id_: str = "1") -> Key:
    """The identity of ``eventbridge(id_)``."""
    return ("aws", EVENTBRIDGE_PRODUCER, id_)


def azure_key(id_: str = "1") -> Key:
    """The identity of ``eventgrid(id_)``."""
    return ("azure", EVENTGRID_PRODUCER, id_)


def poison(body: bytes = b"{") -> Delivery:
    """A delivery that can't be read."""
    return Delivery(channel="eventbridge", body=body, received_at=NOON)
