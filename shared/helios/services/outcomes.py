"""The counts, the dead letters and the event summaries that follow from the outcomes of a batch."""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from helios.model.balances import Repeats
from helios.model.counts import Count
from helios.model.dead_letters import MAX_DEAD_LETTER_BYTES, DeadLetter, fingerprint_of
from helios.model.events import Channel, Delivery, Event, Outcome, Status
from helios.model.incidents import dead_letter_cause
from helios.model.sources import UNKNOWN, Source
from helios.model.stream import MAX_FRAME_EVENTS, EventSummary
from helios.normalise.envelope import envelope_of
from helios.reconciliation.record import FlowCount, cause_value

log = logging.getLogger("helios.ingest")

_SOURCE_OF_CHANNEL: dict[Channel, Source] = {
    "eventbridge": "aws",
    "pubsub": "gcp",
    "eventgrid": "azure",
    "cloudevents": UNKNOWN,
    "webhook": UNKNOWN,
}
"""The source for which an unreadable delivery is counted, unless a declared source has sent it."""


def source_of(delivery: Delivery, event: Event | None) -> Source:
    """The source for which a delivery is counted."""
    if event:
        return event.source
    return delivery.declaration.name if delivery.declaration else _SOURCE_OF_CHANNEL[delivery.channel]


def tally(deliveries: Sequence[Delivery], outcomes: Sequence[Outcome]) -> list[Count]:
    """The batch's counts, sorted by (minute, source, type)."""
    # By instant first: the deliveries of a batch share a few instants, and finding the minute of one is slow.
    by_instant = Counter(
        (delivery.received_at, event.source, event.type, outcome.status)
        if (event := outcome.event)
        else (delivery.received_at, source_of(delivery, None), "", outcome.status)
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
        envelope = outcome.event or envelope_of(delivery)
        dead_letters[fingerprint] = DeadLetter(
            fingerprint=fingerprint,
            source=source_of(delivery, outcome.event),
            channel=delivery.channel,
            status="rejected" if outcome.status == "rejected" else "contradictory",
            reason=(outcome.reason or "").replace("\0", "\\0"),
            field=(outcome.field or "").replace("\0", "\\0"),
            body=delivery.body[:MAX_DEAD_LETTER_BYTES],
            headers=delivery.headers,
            received_at=delivery.received_at,
            attempts=known.attempts + 1 if known else 1,
            event_type=envelope.type,
            event_time=envelope.time,
        )
    return [dead_letters[fingerprint] for fingerprint in sorted(dead_letters)]


def cause_counts(dead_letters: Sequence[DeadLetter]) -> list[FlowCount]:
    """The deliveries of dead letters by cause, sorted."""
    deliveries: Counter[tuple[datetime, str]] = Counter()
    for dead_letter in dead_letters:
        minute = dead_letter.received_at.replace(second=0, microsecond=0)
        deliveries[minute, dead_letter_cause(dead_letter).key] += dead_letter.attempts
    return [
        FlowCount(minute=minute, flow="", what="cause", value=cause_value(key, None), instances=number)
        for (minute, key), number in sorted(deliveries.items())
    ]


def repeats_of(outcomes: Sequence[Outcome]) -> list[Repeats]:
    """How many deliveries repeated a stored event, by the minute of the event's own time, sorted."""
    numbers = Counter(
        (event.time.replace(second=0, microsecond=0), event.source, event.type)
        for outcome in outcomes
        if outcome.status == "duplicate" and (event := outcome.event)
    )
    return [
        Repeats(minute=minute, source=source, type=type_, number=number)
        for (minute, source, type_), number in sorted(numbers.items())
    ]


def summaries(stored: Sequence[Event]) -> list[EventSummary]:
    """The last of the events, at most MAX_FRAME_EVENTS, without their payloads."""
    return [
        EventSummary(
            source=event.source,
            producer=event.producer,
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


def log_batch(message: str, outcomes: Sequence[Outcome], started: float) -> None:
    """Log one line about a batch that began at ``started`` (``time.perf_counter``)."""
    if not log.isEnabledFor(logging.INFO):
        return
    statuses: list[Status] = [outcome.status for outcome in outcomes]
    lags = [(outcome.event.received_at - outcome.event.time).total_seconds() for outcome in outcomes if outcome.event]
    log.info(
        message,
        extra={
            "events": len(outcomes),
            **{status: statuses.count(status) for status in sorted(set(statuses))},
            "sources": sorted({outcome.event.source for outcome in outcomes if outcome.event}),
            "oldest_lag_s": round(max(lags), 3) if lags else None,
            "duration_ms": round((time.perf_counter() - started) * 1000, 2),
        },
    )
