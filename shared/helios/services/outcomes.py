"""The counts, the dead letters and the event summaries that follow from the outcomes of a batch."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import msgspec

from helios.model.counts import Count
from helios.model.dead_letters import MAX_DEAD_LETTER_BYTES, DeadLetter
from helios.model.events import Channel, Delivery, Event, Outcome, SourceOrUnknown
from helios.model.stream import MAX_FRAME_EVENTS, EventSummary

SOURCE_OF_CHANNEL: dict[Channel, SourceOrUnknown] = {
    "eventbridge": "aws",
    "pubsub": "gcp",
    "eventgrid": "azure",
    "cloudevents": "unknown",
}
"""The source for which an unreadable delivery is counted."""


def tally(deliveries: Sequence[Delivery], outcomes: Sequence[Outcome]) -> list[Count]:
    """The batch's counts, sorted by (minute, source, type)."""
    # By instant first: the deliveries of a batch share a few instants, and finding the minute of one is slow.
    by_instant = Counter(
        (delivery.received_at, event.source, event.type, outcome.status)
        if (event := outcome.event)
        else (delivery.received_at, SOURCE_OF_CHANNEL[delivery.channel], "", outcome.status)
        for delivery, outcome in zip(deliveries, outcomes, strict=True)
    )
    tally: dict[tuple[datetime, str, str], Count] = {}
    for (received_at, source, type_, status), number in by_instant.items():
        minute = received_at.replace(second=0, microsecond=0)
        count = tally.setdefault((minute, source, type_), Count(minute=minute, source=source, type=type_))
        setattr(count, status, getattr(count, status) + number)
    return [tally[key] for key in sorted(tally)]


def dead_letters_of(deliveries: Sequence[Delivery], outcomes: Sequence[Outcome]) -> list[DeadLetter]:
    """A dead letter for each distinct delivery that did not become an event, sorted by fingerprint."""
    dead_letters: dict[str, DeadLetter] = {}
    for delivery, outcome in zip(deliveries, outcomes, strict=True):
        if outcome.status not in {"rejected", "contradictory"}:
            continue
        fingerprint = fingerprint_of(delivery)
        known = dead_letters.get(fingerprint)
        dead_letters[fingerprint] = DeadLetter(
            fingerprint=fingerprint,
            source=outcome.event.source if outcome.event else SOURCE_OF_CHANNEL[delivery.channel],
            channel=delivery.channel,
            status="rejected" if outcome.status == "rejected" else "contradictory",
            reason=(outcome.reason or "").replace("\0", "\\0"),
            field=(outcome.field or "").replace("\0", "\\0"),
            body=delivery.body[:MAX_DEAD_LETTER_BYTES],
            headers=delivery.headers,
            received_at=delivery.received_at,
            attempts=known.attempts + 1 if known else 1,
        )
    return [dead_letters[fingerprint] for fingerprint in sorted(dead_letters)]


def fingerprint_of(delivery: Delivery) -> str:
    """32 hex digits: equal for deliveries with the same channel, headers and body."""
    head = msgspec.json.encode([delivery.channel, sorted(delivery.headers.items())])
    return hashlib.blake2b(head + delivery.body, digest_size=16).hexdigest()


def summaries(stored: Sequence[Event]) -> list[EventSummary]:
    """The last of the events, at most MAX_FRAME_EVENTS, without their payloads."""
    return [
        EventSummary(
            source=event.source,
            id=event.id,
            type=event.type,
            subject=event.subject,
            time=event.time,
            received_at=event.received_at,
            order_id=event.order_id,
            customer_id=event.customer_id,
            amount=event.amount,
        )
        for event in stored[-MAX_FRAME_EVENTS:]
    ]
