"""Events of distinct orders, as a shop in three clouds sends them: 40 % AWS, 30 % GCP, 30 % Azure, 1 KB each."""

import base64
import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import cycle

import msgspec

from helios.model.events import Channel, Delivery
from scripts.bench.payloads import ORDER, TIME

PAYLOAD_BYTES = 1000
"""The size of an order, without what its cloud adds."""

SMALL_BYTES = 400
"""The size of an order in an event of 600 bytes."""

_ID, _ORDER = "$id", "$order"


class Leg(msgspec.Struct, frozen=True):
    """The events of one leg.

    Attributes:
        channel: how they arrive.
        head: the body before the order.
        tail: the body after it.
        is_encoded: whether the order is in base64.
    """

    channel: Channel
    head: str
    tail: str
    is_encoded: bool = False

    def body(self, order: str, size: int = PAYLOAD_BYTES, *, id_: str | None = None) -> bytes:
        """The body of a new event of this order, whose payload has this many bytes."""
        data = _order(size).replace(_ORDER, order)
        if self.is_encoded:
            data = base64.b64encode(data.encode()).decode()
        return f"{self.head}{data}{self.tail}".replace(_ID, id_ or uuid.uuid4().hex, 1).encode()


def _leg(channel: Channel, envelope: dict[str, object], *, is_encoded: bool = False) -> Leg:
    """A leg from its envelope, which has the order at $data."""
    mark = "$data" if is_encoded else '"$data"'
    head, tail = json.dumps(envelope).split(mark)
    return Leg(channel, head, tail, is_encoded)


LEGS: Sequence[Leg] = (
    _leg(
        "eventbridge",
        {
            "version": "0",
            "id": _ID,
            "detail-type": "OrderPlaced",
            "source": "shop.orders",
            "account": "123456789012",
            "time": TIME,
            "region": "eu-central-1",
            "resources": [],
            "detail": "$data",
        },
    ),
    _leg(
        "pubsub",
        {
            "message": {
                "messageId": _ID,
                "publishTime": TIME,
                "attributes": {"event_type": "PaymentProcessed"},
                "data": "$data",
            },
            "subscription": "projects/shop/subscriptions/helios",
        },
        is_encoded=True,
    ),
    _leg(
        "eventgrid",
        {
            "id": _ID,
            "topic": "/subscriptions/s/topics/stock",
            "subject": "orders",
            "eventType": "InventoryReserved",
            "eventTime": TIME,
            "data": "$data",
            "dataVersion": "1.0",
        },
    ),
)
"""The legs of an order: AWS, GCP, Azure."""

_SHARES = cycle((0, 1, 2, 0, 1, 2, 0, 1, 2, 0))


def distinct(count: int) -> list[Delivery]:
    """New events, each of an order of its own, in the shares of the clouds."""
    now = datetime.now(UTC)
    legs = [LEGS[next(_SHARES)] for _ in range(count)]
    return [Delivery(channel=leg.channel, body=leg.body(uuid.uuid4().hex), received_at=now) for leg in legs]


def of_leg(leg: int, orders: Sequence[str], *, received_at: datetime | None = None) -> list[Delivery]:
    """A new event of this leg for each of the orders, received now unless another time is given."""
    at = received_at or datetime.now(UTC)
    return [Delivery(channel=LEGS[leg].channel, body=LEGS[leg].body(order), received_at=at) for order in orders]


def small() -> Delivery:
    """A new event of 600 bytes, of an order of its own."""
    body = LEGS[0].body(uuid.uuid4().hex, SMALL_BYTES)
    return Delivery(channel=LEGS[0].channel, body=body, received_at=datetime.now(UTC))


def delivery(leg: int, order: str) -> Delivery:
    """A new event of this leg of an order, received now."""
    return Delivery(channel=LEGS[leg].channel, body=LEGS[leg].body(order), received_at=datetime.now(UTC))


@cache
def _order(size: int) -> str:
    """An order in JSON with $order as its id; a note fills it up to this many bytes."""
    order = {**ORDER, "order_id": _ORDER, "note": ""}
    missing = size - len(json.dumps(order)) - len(uuid.uuid4().hex) + len(_ORDER)
    return json.dumps({**order, "note": "n" * max(0, missing)})
