"""Deliveries for tests, made the short way."""

import json
from datetime import UTC, datetime
from typing import Any

from helios.model.events import Delivery

NOON = datetime(2025, 11, 26, 12, 0, tzinfo=UTC)


def eventbridge(
    id_: str = "1", *, type_: str = "OrderPlaced", received_at: datetime = NOON, detail: Any = None
) -> Delivery:
    """An EventBridge delivery."""
    event = {
        "id": id_,
        "detail-type": type_,
        "source": "shop.orders",
        "account": "123456789012",
        "time": "2025-11-26T12:00:00Z",
        "region": "eu-central-1",
        "detail": {"order_id": f"ORD-{id_}", "amount": 10.0} if detail is None else detail,
    }
    return Delivery(channel="eventbridge", body=json.dumps(event).encode(), received_at=received_at)


def eventgrid(id_: str = "1", *, received_at: datetime = NOON, data: Any = None) -> Delivery:
    """An Event Grid delivery."""
    event = {
        "id": id_,
        "eventType": "InventoryReserved",
        "subject": f"orders/ORD-{id_}",
        "eventTime": "2025-11-26T12:00:01Z",
        "data": {"order_id": f"ORD-{id_}", "quantity": 2} if data is None else data,
        "dataVersion": "1.0",
    }
    return Delivery(channel="eventgrid", body=json.dumps(event).encode(), received_at=received_at)


def poison(body: bytes = b"{") -> Delivery:
    """A delivery that can't be read."""
    return Delivery(channel="eventbridge", body=body, received_at=NOON)
