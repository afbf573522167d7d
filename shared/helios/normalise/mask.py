"""Masks: hides the values of some fields from a reader, in events, in their summaries and in dead letters."""

from functools import lru_cache

import msgspec

from helios.model.access import MASKED, Visibility
from helios.model.dead_letters import StoredDeadLetter
from helios.model.events import Delivery, Event
from helios.model.stream import EventSummary
from helios.normalise.fields import replace_data
from helios.normalise.redact import Redaction

UNREADABLE = "Not shown: this token has masked fields, and this body can't be read."


class Mask:
    """Hides the masked fields of one ``Visibility``; everything else is unchanged."""

    def __init__(self, visibility: Visibility) -> None:
        """Take the fields to hide: those of payloads, attributes of the same names, and ``subject``."""
        self._visibility = visibility
        self._redaction = Redaction(visibility.masked_paths, marker=MASKED, withheld=lambda _: UNREADABLE)

    def event(self, event: Event) -> Event:
        """The event without those values. Its digest is that of what is left, so that no guess can be confirmed."""
        if not self._visibility.masked:
            return event
        masked = replace_data(event, self._redaction.payload(bytes(event.data)))
        attributes = {
            name: MASKED if self._visibility.masks(name) else value for name, value in event.attributes.items()
        }
        return msgspec.structs.replace(masked, attributes=attributes, subject=self._text("subject", event.subject))

    def summary(self, event: EventSummary) -> EventSummary:
        """The line of the live feed without those values."""
        if not self._visibility.masked:
            return event
        return msgspec.structs.replace(
            event,
            subject=self._text("subject", event.subject),
            order_id=self._text("order_id", event.order_id),
            customer_id=self._text("customer_id", event.customer_id),
            amount=None if self._visibility.masks("amount") else event.amount,
        )

    def dead_letter(self, stored: StoredDeadLetter) -> StoredDeadLetter:
        """The dead letter without those values. Its reason and its headers, which may quote them, are left out."""
        if not self._visibility.masked:
            return stored
        received = stored.dead_letter
        delivery = Delivery(
            channel=received.channel, body=received.body, headers=received.headers, received_at=received.received_at
        )
        # Of attributes, only the subject can be masked, and no two clouds have it in the same place of a body.
        hides_subject = self._visibility.masks("subject")
        body = UNREADABLE.encode() if hides_subject else self._redaction.for_dead_letter(delivery).body
        masked = msgspec.structs.replace(received, body=body, headers={}, reason=MASKED)
        return msgspec.structs.replace(stored, dead_letter=masked)

    def _text(self, name: str, value: str | None) -> str | None:
        return MASKED if value is not None and self._visibility.masks(name) else value


@lru_cache(maxsize=256)
def mask_of(visibility: Visibility) -> Mask:
    """The mask of this visibility. The cache saves the callers of the live stream from building one per frame."""
    return Mask(visibility)
