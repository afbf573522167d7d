"""Events of the vendor's client library."""

from datetime import UTC, datetime
from typing import Any

from azure.core.messaging import CloudEvent
from azure.eventgrid import EventGridEvent

NOON = datetime(2025, 11, 26, 12, 0, tzinfo=UTC)


def grid_event(
    id_: str = "1", *, type_: str = "InventoryReserved", subject: str = "orders/1", data: Any = None
) -> EventGridEvent:
    return EventGridEvent(
        id=id_,
        event_type=type_,
        subject=subject,
        data={"order_id": "ORD-1", "quantity": 2} if data is None else data,
        data_version="1.0",
        event_time=NOON,
    )


def cloud_event(id_: str = "1", *, type_: str = "InventoryReserved", data: Any = None) -> CloudEvent:
    return CloudEvent(
        id=id_,
        type=type_,
        source="/shop/inventory",
        subject="orders/1",
        time=NOON,
        data={"order_id": "ORD-1", "quantity": 2} if data is None else data,
        extensions={"traceid": "abc"},
    )
