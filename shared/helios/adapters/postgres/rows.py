"""How an Event lies in its row."""

from decimal import Decimal
from typing import Any

from msgspec import Raw

from helios.event import Event

EVENT_COLUMNS = (
    "source, id, type, subject, time, received_at, origin, data::text, order_id, customer_id, amount, digest"
)


def event_from_row(row: tuple[Any, ...]) -> Event:
    """The Event in a row of EVENT_COLUMNS."""
    source, id_, type_, subject, time, received_at, origin, data, order_id, customer_id, amount, digest = row
    return Event(
        source=source,
        id=id_,
        type=type_,
        subject=subject,
        time=time,
        received_at=received_at,
        origin=origin,
        data=Raw(data),
        order_id=order_id,
        customer_id=customer_id,
        amount=amount if amount is None else Decimal(amount),
        digest=digest,
    )
