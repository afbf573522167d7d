"""Events that a script sends, as CloudEvents in batch mode."""

import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from helios import standard_webhooks
from helios.model.sources import BuiltIn

BATCH_CONTENT_TYPE = "application/cloudevents-batch+json"
"""CloudEvents JSON Event Format 1.0.2, section 4."""

MAX_BATCH = 500
"""Most events in one request: Helios stores a request in one transaction."""


def _now() -> datetime:
    return datetime.now(UTC)


class NewEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event to send, with the attributes of CloudEvents 1.0.

    An object has one id and one time, so that sending it twice stores it once.

    Attributes:
        source: the producer, such as ``//pubsub.googleapis.com/projects/shop/topics/payments``.
        type: the type of the event, such as ``PaymentProcessed``.
        data: the payload: anything that is JSON. Helios reads ``order_id``, ``customer_id`` and ``amount`` from it.
        cloud: the cloud in which it happened; None: Helios derives it from ``source``.
        id: unique for the producer; by default a random UUID.
        time: when it happened; by default now.
        subject: what it is about, if anything.
        extensions: further attributes by their names, which are lower-case letters and digits.
    """

    source: str
    type: str
    data: Any = None
    cloud: BuiltIn | None = None
    id: str = msgspec.field(default_factory=lambda: str(uuid.uuid4()))
    time: datetime = msgspec.field(default_factory=_now)
    subject: str | None = None
    extensions: Mapping[str, str] = {}


def batch(events: Sequence[NewEvent]) -> bytes:
    """The body of a request in CloudEvents' batch mode."""
    return msgspec.json.encode([_cloudevent(event) for event in events])


def headers(body: bytes, key: bytes | None) -> dict[str, str]:
    """The headers of a request, signed as Standard Webhooks 1.0.0 says if there is a key."""
    content_type = {"Content-Type": BATCH_CONTENT_TYPE}
    if key is None:
        return content_type
    id_, timestamp = f"msg_{uuid.uuid4().hex}", str(int(time.time()))
    return content_type | {
        standard_webhooks.ID: id_,
        standard_webhooks.TIMESTAMP: timestamp,
        standard_webhooks.SIGNATURE: standard_webhooks.sign(key, id=id_, timestamp=timestamp, body=body),
    }


def _cloudevent(event: NewEvent) -> dict[str, Any]:
    attributes = {name: getattr(event, name) for name in ("id", "source", "type", "time", "subject", "cloud", "data")}
    given = {name: value for name, value in attributes.items() if value is not None}
    return {**event.extensions, "specversion": "1.0", **given}
