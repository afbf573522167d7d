"""Deliveries of a realistic size, each with a unique id."""

import base64
import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

from helios.model.events import Channel, Delivery

ORDER = {
    "order_id": "ORD-1764158400000-1234",
    "customer_id": "CUST-0042",
    "amount": 249.97,
    "currency": "EUR",
    "quantity": 3,
    "items": [{"sku": "SKU-1001", "quantity": 1, "price": 49.99}, {"sku": "SKU-1007", "quantity": 2, "price": 99.99}],
}
TIME = "2025-11-26T12:00:00.123Z"

TYPES = ("OrderPlaced", "PaymentProcessed", "InventoryReserved")
SOURCES = (
    "arn:aws:events:eu-central-1:1:event-bus/shop",
    "//pubsub.googleapis.com/projects/p/topics/t",
    "/subscriptions/s",
)
"""The types of the legs of an order, and the CloudEvents sources from which they come."""

_EVENTBRIDGE = json.dumps(
    {
        "version": "0",
        "id": "ID",
        "detail-type": "OrderPlaced",
        "source": "shop.orders",
        "account": "123456789012",
        "time": TIME,
        "region": "eu-central-1",
        "resources": [],
        "detail": ORDER,
    }
)
_PUBSUB = json.dumps(
    {
        "message": {
            "data": base64.b64encode(json.dumps(ORDER).encode()).decode(),
            "messageId": "ID",
            "publishTime": TIME,
            "attributes": {"event_type": "PaymentProcessed"},
        },
        "subscription": "projects/shop/subscriptions/helios",
    }
)
_EVENTGRID = json.dumps(
    {
        "id": "ID",
        "topic": "/subscriptions/s/topics/stock",
        "subject": "orders/ORD-1764158400000-1234",
        "eventType": "InventoryReserved",
        "eventTime": TIME,
        "data": ORDER,
        "dataVersion": "1.0",
    }
)
_CLOUDEVENT = json.dumps(
    {
        "specversion": "1.0",
        "id": "ID",
        "source": "arn:aws:events:eu-central-1:123456789012:event-bus/shop",
        "type": "OrderPlaced",
        "time": TIME,
        "data": ORDER,
    }
)
_SNS = json.dumps(
    {"Type": "Notification", "TopicArn": "arn:aws:sns:eu-central-1:123456789012:orders", "Message": _EVENTBRIDGE}
)

SHAPES: dict[str, tuple[Channel, str]] = {
    "EventBridge": ("eventbridge", _EVENTBRIDGE),
    "EventBridge in SNS": ("eventbridge", _SNS),
    "Pub/Sub push": ("pubsub", _PUBSUB),
    "Event Grid": ("eventgrid", _EVENTGRID),
    "CloudEvents": ("cloudevents", _CLOUDEVENT),
}


def deliveries(count: int, shape: str = "EventBridge") -> Sequence[Delivery]:
    """New deliveries with this payload, received now."""
    channel, text = SHAPES[shape]
    now = datetime.now(UTC)
    return [
        Delivery(channel=channel, body=text.replace("ID", uuid.uuid4().hex, 1).encode(), received_at=now)
        for _ in range(count)
    ]
