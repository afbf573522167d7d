"""The envelopes in which a vendor's service sends a payload. Tests build them here and nowhere else.

Each function returns the envelope with the fields that the vendor documents; ``fields`` replaces fields or adds some.
"""

import base64
import uuid
from collections.abc import Mapping
from typing import Any

TIME = "2025-11-26T12:00:00Z"

EVENTBRIDGE_PRODUCER = "shop.orders/123456789012/eu-central-1"
EVENTGRID_PRODUCER = "/subscriptions/s/resourceGroups/g/providers/Microsoft.EventGrid/topics/stock"
PUBSUB_PRODUCER = "//pubsub.googleapis.com/projects/shop"
CLOUDEVENT_PRODUCER = "arn:aws:s3:::bucket"


def eventbridge_event(id_: str = "1", *, detail: Any = None, **fields: Any) -> dict[str, Any]:
    """An event as EventBridge delivers it (Amazon EventBridge User Guide, "Events in Amazon EventBridge").

    Args:
        id_: the event's id.
        detail: the payload; by default an order whose number contains the id.
        fields: other fields; ``detail_type`` is written as ``detail-type``.
    """
    event = {
        "version": "0",
        "id": id_,
        "detail-type": "OrderPlaced",
        "source": "shop.orders",
        "account": "123456789012",
        "time": TIME,
        "region": "eu-central-1",
        "resources": [],
    }
    renamed = {name.replace("_", "-"): value for name, value in fields.items()}
    return event | renamed | {"detail": {"order_id": f"ORD-{id_}", "amount": 10.0} if detail is None else detail}


def eventgrid_event(id_: str = "1", *, data: Any = None, **fields: Any) -> dict[str, Any]:
    """An event in Event Grid's schema (Microsoft Learn, "Azure Event Grid event schema")."""
    event = {
        "id": id_,
        "topic": EVENTGRID_PRODUCER,
        "subject": f"orders/ORD-{id_}",
        "eventType": "InventoryReserved",
        "eventTime": "2025-11-26T12:00:01Z",
        "dataVersion": "1.0",
        "metadataVersion": "1",
    }
    return event | fields | {"data": {"order_id": f"ORD-{id_}", "quantity": 2} if data is None else data}


def eventgrid_validation(code: str) -> list[dict[str, Any]]:
    """The validation request of Event Grid to a new endpoint (Microsoft Learn, "Webhook event delivery")."""
    return [eventgrid_event(eventType="Microsoft.EventGrid.SubscriptionValidationEvent", data={"validationCode": code})]


def pubsub_message(
    id_: str = "1", data: bytes = b'{"order_id": "ORD-1", "amount": 10.00}', **fields: Any
) -> dict[str, Any]:
    """A message as Pub/Sub writes it in JSON (Google Cloud, "PubsubMessage")."""
    message = {"data": base64.b64encode(data).decode(), "messageId": id_, "publishTime": "2025-11-26T12:00:00.123456Z"}
    return message | fields


def pubsub_push(message: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A wrapped push request (Google Cloud, "Push subscriptions")."""
    return {"message": message or pubsub_message(), "subscription": "projects/shop/subscriptions/helios"}


def cloudevent(id_: str = "1", *, data: Any = None, **attributes: Any) -> dict[str, Any]:
    """A CloudEvent in structured mode (CloudEvents 1.0, "JSON Event Format"), of an AWS source."""
    event = {"specversion": "1.0", "id": id_, "type": "OrderPlaced", "source": CLOUDEVENT_PRODUCER}
    return event | attributes | {"data": {} if data is None else data}


def cloudevent_headers(id_: str = "1", **attributes: str) -> dict[str, str]:
    """The headers of a CloudEvent in binary mode (CloudEvents 1.0, "HTTP Protocol Binding")."""
    values = {"specversion": "1.0", "id": id_, "type": "OrderPlaced", "source": CLOUDEVENT_PRODUCER} | attributes
    return {"content-type": "application/json"} | {f"ce-{name}": value for name, value in values.items()}


def sqs_event(*bodies: bytes) -> dict[str, Any]:
    """A batch as SQS passes it to a function (AWS Lambda Developer Guide, "Using Lambda with Amazon SQS")."""
    return {
        "Records": [
            {
                "messageId": str(uuid.UUID(int=number)),
                "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",  # pragma: allowlist secret
                "body": body.decode(),
                "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1764158400000"},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:helios-events",
                "awsRegion": "eu-central-1",
            }
            for number, body in enumerate(bodies)
        ]
    }
