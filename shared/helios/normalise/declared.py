"""The parts of an event that the declaration of its source finds in the payload."""

from functools import lru_cache

import msgspec

from helios.errors import UNREADABLE
from helios.model.events import MAX_ID_CHARS, Event
from helios.model.payload import decimal, number
from helios.model.sources import SourceDeclaration
from helios.sources.payload import AMOUNT, CUSTOMER, ORDER, PayloadFields

values = msgspec.json.Decoder(float_hook=decimal)
"""Decodes JSON; numbers keep their exact value."""

_payload_fields = lru_cache(PayloadFields)  # a declaration is prepared once, and there are few


def with_payload_fields(event: Event, declaration: SourceDeclaration) -> Event:
    """The event with the order, the customer and the amount that the declaration finds in its payload."""
    try:
        found = _payload_fields(declaration).read(values.decode(event.data))
    except UNREADABLE:  # a payload that was redacted, or is too deep to be decoded, is stored without them
        found = {}
    return msgspec.structs.replace(
        event,
        order_id=_short(found.get(ORDER)),
        customer_id=_short(found.get(CUSTOMER)),
        amount=number(found.get(AMOUNT) or ""),
    )


def _short(text: str | None) -> str | None:
    """A business id; None if it has more than MAX_ID_CHARS."""
    return text if text is not None and len(text) <= MAX_ID_CHARS else None
