"""How an Event, and a minute of the ledger, lie in their rows."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from msgspec import Raw

from helios.model.counts import MinuteCount
from helios.model.events import Event

SELECT_MINUTES = """
SELECT minute, source, sum(stored)::bigint, sum(duplicate)::bigint, sum(contradictory)::bigint, sum(rejected)::bigint
FROM event_counts WHERE minute >= %s
GROUP BY minute, source ORDER BY minute, source
"""

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


def minute_from_row(row: Sequence[Any]) -> MinuteCount:
    """The counts in a row of SELECT_MINUTES."""
    minute, source, stored, duplicate, contradictory, rejected = row
    return MinuteCount(
        minute=minute,
        source=source,
        stored=stored,
        duplicate=duplicate,
        contradictory=contradictory,
        rejected=rejected,
    )
