"""Deliveries of the legs of an order, and a flow that is not about orders."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from helios.model.events import Delivery
from helios.reconciliation.declaration import Flow, load
from helios.reconciliation.leg import Leg
from helios.reconciliation.rule import Rule
from tests.support.deliveries import NOON
from tests.support.envelopes import cloudevent_headers, eventbridge_event, eventgrid_event

(ORDER,) = load()

SHIPMENT = Flow(
    name="shipment",
    key="parcel.number",
    window_seconds=10,
    grace_seconds=5,
    leg=(
        Leg(name="handed_over", type="ParcelHandedOver", source="azure"),
        Leg(name="scanned", type="ParcelScanned"),
        Leg(name="insured", type="ParcelInsured", source="gcp", optional=True),
    ),
    rule=(Rule(equal=("handed_over.parcel.grams", "scanned.parcel.grams"), within="5"),),
)


def parcels(source: str) -> Flow:
    """An order of three parcels, which this cloud ships."""
    return Flow(
        name="parcels",
        key="order_id",
        window_seconds=30,
        grace_seconds=60,
        leg=(
            Leg(name="order", type="OrderPlaced", source="aws"),
            Leg(name="shipment", type="ParcelShipped", source=source, many=True, id="parcel", count=3),
        ),
    )


_TYPES = {
    "order": ("eventbridge", "OrderPlaced"),
    "payment": ("pubsub", "PaymentProcessed"),
    "inventory": ("eventgrid", "InventoryReserved"),
}

_encode = msgspec.json.Encoder(decimal_format="number").encode


def leg(name: str, key: str = "ORD-1", *, id_: str = "1", after: float = 0.0, **fields: Any) -> Delivery:
    """A delivery of one leg of an order, ``after`` seconds after noon; ``fields`` replaces the consistent defaults."""
    channel, type_ = _TYPES[name]
    defaults = {"order_id": key, "customer_id": "CUST-1", "amount": Decimal("10.00"), "currency": "EUR", "quantity": 2}
    return sent(
        channel, type_, defaults | fields, id_=f"{key}/{name}/{id_}", received_at=NOON + timedelta(seconds=after)
    )


def sent(
    channel: str, type_: str, data: Any, *, id_: str, received_at: datetime, happened_at: datetime = NOON
) -> Delivery:
    """An event as its cloud delivers it."""
    time = happened_at.isoformat()
    match channel:
        case "eventbridge":
            body = eventbridge_event(id_, detail_type=type_, source="shop", account="1", region="eu", time=time)
            return Delivery(channel="eventbridge", body=_encode(body | {"detail": data}), received_at=received_at)
        case "eventgrid":
            body = eventgrid_event(id_, eventType=type_, subject="s", topic="t", eventTime=time)
            return Delivery(channel="eventgrid", body=_encode(body | {"data": data}), received_at=received_at)
    headers = cloudevent_headers(
        id_, type=type_, source="//pubsub.googleapis.com/projects/shop/topics/payments", time=time
    )
    return Delivery(channel="cloudevents", body=_encode(data), headers=headers, received_at=received_at)
