"""Deliveries in, each fact stored exactly once, everything else kept with its reason."""

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from helios.errors import DEFECTS, UNREADABLE, Rejected, Retryable
from helios.model.counts import Count
from helios.model.dead_letters import MAX_DEAD_LETTER_BYTES, DeadLetter
from helios.model.events import Channel, Delivery, Event, Key, Outcome, SourceOrUnknown, Status
from helios.model.stream import MAX_FRAME_EVENTS, EventSummary, Frame
from helios.normalise import normalise
from helios.normalise.redact import Redaction
from helios.normalise.replay_marks import is_replay
from helios.ports.events import DedupeCache
from helios.ports.stream import Notifier
from helios.ports.unit_of_work import EventStore, UnitOfWork
from helios.reconciliation.evidence import exact
from helios.services.reconciler import Reconciler, parted

log = logging.getLogger("helios.ingest")

SOURCE_OF_CHANNEL: dict[Channel, SourceOrUnknown] = {
    "eventbridge": "aws",
    "pubsub": "gcp",
    "eventgrid": "azure",
    "cloudevents": "unknown",
}
"""Whom a delivery that can't be read is counted for."""

_NO_FLOWS = Reconciler([])

AlsoWrite = Callable[[UnitOfWork, Sequence[Outcome]], None]
"""Writes something in the transaction that stores a batch, which it may refuse by raising."""


class Ingest(Protocol):
    """``ingest`` with its ports filled in."""

    def __call__(self, deliveries: Sequence[Delivery], *, also_write: AlsoWrite | None = None) -> list[Outcome]: ...  # noqa: D102 - above


class _Reading(msgspec.Struct, frozen=True, gc=False):
    """A delivery, and what was read in it."""

    delivery: Delivery
    content: Event | Rejected


def ingest(
    deliveries: Sequence[Delivery],
    *,
    dedupe: DedupeCache,
    store: EventStore,
    reconciler: Reconciler | None = None,
    redaction: Redaction | None = None,
    notifier: Notifier | None = None,
    also_write: AlsoWrite | None = None,
) -> list[Outcome]:
    """Turn any number of deliveries of one fact into one stored event.

    Returning means that the cloud may forget the deliveries: each is stored, or kept as a dead letter.

    Args:
        deliveries: a batch, in order of arrival; the first of two that contradict each other is believed.
        dedupe: asked first, told last: a key is remembered only once its event is durable.
        store: decides what is new.
        reconciler: keeps the stories that the events tell of; None: nobody asks whether the clouds agree.
        redaction: replaces what is not to be kept; None: there is no such field.
        notifier: told that there is a new frame; None: who watches finds it by itself.
        also_write: writes something in the same transaction; with it a batch is stored whole or not at all.

    Returns:
        What became of each delivery, in the same order.

    Raises:
        Retryable: nothing is certain; the cloud must deliver all of them again, which is safe.
        Rejected: with ``also_write`` only: one can't be stored, so none was.
    """
    started = time.perf_counter()
    readings = [_read(delivery, redaction) for delivery in deliveries]
    keys = {reading.content.key for reading in readings if isinstance(reading.content, Event)}
    hinted = dedupe.lookup(keys) if keys else set()
    outcomes = _store(readings, hinted, store, reconciler or _NO_FLOWS, also_write)
    dedupe.add(
        {
            outcome.event.key
            for outcome in outcomes
            if outcome.event and outcome.status in {"stored", "duplicate"} and outcome.event.key not in hinted
        }
    )
    if notifier:
        _notify(notifier)
    _log(outcomes, started)
    return outcomes


def _notify(notifier: Notifier) -> None:
    try:
        notifier.notify()
    except Retryable as error:  # everything is stored; the next ring or sweep brings the frame
        log.warning("not rung", extra={"error": str(error)})


def _read(delivery: Delivery, redaction: Redaction | None) -> _Reading:
    redacted = redaction(delivery) if redaction else delivery
    try:
        return _Reading(redacted, normalise(redacted))
    except Rejected as fault:
        return _Reading(redaction.kept(delivery) if redaction else delivery, fault)
    except DEFECTS as defect:
        kept = redaction.kept(delivery) if redaction else delivery
        return _Reading(kept, internal_error_rejection(kept, defect))


def _store(
    readings: Sequence[_Reading],
    hinted: set[Key],
    store: EventStore,
    reconciler: Reconciler,
    also_write: AlsoWrite | None,
) -> list[Outcome]:
    """Store a batch, or find the delivery in it that can't be stored and bury that one alone.

    So it is with one on which we fail ourselves: raising would keep its batch coming back for as long as the defect is
    there, and nobody else's events may wait for that.
    """
    try:
        with store.transaction() as work:
            outcomes = _write(readings, hinted, work, reconciler)
            if also_write:
                also_write(work, outcomes)
            return outcomes
    except (Rejected, *DEFECTS) as error:
        if also_write:
            raise (
                error if isinstance(error, Rejected) else internal_error_rejection(readings[0].delivery, error)
            ) from error
        if len(readings) > 1:
            half = len(readings) // 2
            first, second = readings[:half], readings[half:]
            return _store(first, hinted, store, reconciler, None) + _store(second, hinted, store, reconciler, None)
        (reading,) = readings
        fault = error if isinstance(error, Rejected) else internal_error_rejection(reading.delivery, error)
        if isinstance(reading.content, Rejected):
            # Better to be sent it again than to lose it; and who shares the batch is not to hear that it is at fault.
            raise Retryable(f"not even a dead letter can be kept: {fault.reason}") from error
        return _store([_Reading(reading.delivery, fault)], hinted, store, reconciler, None)


def internal_error_rejection(delivery: Delivery, defect: Exception) -> Rejected:
    """A defect of ours as the reason of a dead letter; its stack goes to the log."""
    log.error("defect", exc_info=defect, extra={"channel": delivery.channel, "fingerprint": _fingerprint(delivery)})
    name = type(defect).__name__
    return Rejected(f"Helios fails on it ({name}), a defect of its own: replay it once that is repaired", field="body")


def _write(readings: Sequence[_Reading], hinted: set[Key], work: UnitOfWork, reconciler: Reconciler) -> list[Outcome]:
    events = [reading.content for reading in readings if isinstance(reading.content, Event)]
    told = _told(readings, work)
    firsts, digests = _firsts(events, hinted, work)
    # Sorted, because concurrent writers of the same keys in different order deadlock.
    fresh = [firsts[key] for key in sorted(firsts.keys() - digests.keys())]
    # The database stores one part while evidence is read, and the other while stories are judged.
    first, second = parted(fresh) if reconciler.evaluators else ([], fresh)
    inserting = [work.insert(first)]
    pending = reconciler.collect(told, work)
    inserting.append(work.insert(second))
    evaluation = reconciler.evaluator(pending, work)
    new = {key for inserted in inserting for key in inserted()}
    verdicts = iter(_classify(events, firsts, new, digests, work))
    outcomes = [
        next(verdicts)
        if isinstance(reading.content, Event)
        else Outcome(
            status="rejected",
            reason=reading.content.reason,
            field=reading.content.field,
            http_status=reading.content.status,
        )
        for reading in readings
    ]
    # Before anything is counted: writers of one cloud wait for each other from there on.
    changes = reconciler.finalize(pending, evaluation, work)
    deliveries = [reading.delivery for reading in readings]
    counts = _tally(deliveries, outcomes)
    work.count(counts)
    if dead_letters := _dead_letters(deliveries, outcomes):
        work.add_dead_letters(dead_letters)
    stored = [outcome.event for outcome in outcomes if outcome.event and outcome.status == "stored"]
    frame = Frame(counts=counts, events=_summaries(stored), flows=changes.flows, flow_statuses=changes.statuses)
    work.publish(frame, [event.key for event in stored])
    return outcomes


def _told(readings: Sequence[_Reading], work: UnitOfWork) -> list[Event]:
    """The events that tell of stories: not those that are stored and that Helios itself has sent once more."""
    read = [(one.content, is_replay(one.delivery)) for one in readings if isinstance(one.content, Event)]
    stored = work.digests(sorted({event.key for event, again in read if again}))
    return [event for event, again in read if not again or event.key not in stored]


def _firsts(events: Sequence[Event], hinted: set[Key], work: UnitOfWork) -> tuple[dict[Key, Event], dict[Key, str]]:
    """The first event of each key, and the digests of those that are known to be stored."""
    firsts: dict[Key, Event] = {}
    for event in events:
        firsts.setdefault(event.key, event)
    # A mark in Redis may be older than the database, after a restore: Postgres confirms each.
    return firsts, work.digests(sorted(hinted & firsts.keys()))


def _classify(
    events: Sequence[Event],
    firsts: Mapping[Key, Event],
    stored: set[Key],
    known: dict[Key, str],
    work: UnitOfWork,
) -> list[Outcome]:
    """Tell what was new, and duplicates from contradictions among the rest."""
    digests = known | {key: firsts[key].digest for key in stored}
    digests |= work.digests(sorted(firsts.keys() - digests.keys()))
    keyed = [(event.key, event) for event in events]

    suspects = sorted({key for key, event in keyed if event.digest != digests[key]})
    originals = work.events(suspects)

    def verdict(key: Key, event: Event) -> Outcome:
        if key in stored and firsts[key] is event:
            return Outcome(status="stored", event=event)
        if event.digest == digests[key]:
            return Outcome(status="duplicate", event=event)
        return _compared(event, originals[key])

    return [verdict(key, event) for key, event in keyed]


def _compared(event: Event, original: Event) -> Outcome:
    """A duplicate, if only the spelling differs (10.0 and 10.00, the order of keys); else a contradiction."""
    before, after = _content(original), _content(event)
    differing = [name for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)]
    if not differing:
        return Outcome(status="duplicate", event=event)
    return Outcome(
        status="contradictory",
        event=event,
        reason=f"differs from the stored event of the same source and id in {', '.join(differing)}",
        field=differing[0],
    )


def _content(event: Event) -> dict[str, object]:
    try:
        data = exact.decode(event.data)
    except UNREADABLE:  # an integer of thousands of digits, say: then the spelling is all there is to compare
        data = bytes(event.data)
    fields = {f"data.{name}": value for name, value in data.items()} if isinstance(data, dict) else {"data": data}
    told = event.time != event.received_at  # else it was only given the time of its arrival
    return {"type": event.type, "subject": event.subject, "time": event.time if told else None} | fields


def _tally(deliveries: Sequence[Delivery], outcomes: Sequence[Outcome]) -> list[Count]:
    """The batch's counts, sorted by (minute, source, type)."""
    # By instant first: the deliveries of a batch share a few, and a minute is dear to find.
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


def _dead_letters(deliveries: Sequence[Delivery], outcomes: Sequence[Outcome]) -> list[DeadLetter]:
    """One letter for each distinct delivery that did not become an event, sorted by fingerprint."""
    dead_letters: dict[str, DeadLetter] = {}
    for delivery, outcome in zip(deliveries, outcomes, strict=True):
        if outcome.status not in {"rejected", "contradictory"}:
            continue
        fingerprint = _fingerprint(delivery)
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


def _fingerprint(delivery: Delivery) -> str:
    head = msgspec.json.encode([delivery.channel, sorted(delivery.headers.items())])
    return hashlib.blake2b(head + delivery.body, digest_size=16).hexdigest()


def _summaries(stored: Sequence[Event]) -> list[EventSummary]:
    """The last of the events, at most MAX_FRAME_EVENTS."""
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


def _log(outcomes: Sequence[Outcome], started: float) -> None:
    """The one wide line of a batch."""
    statuses: list[Status] = [outcome.status for outcome in outcomes]
    lags = [(outcome.event.received_at - outcome.event.time).total_seconds() for outcome in outcomes if outcome.event]
    log.info(
        "ingested",
        extra={
            "events": len(outcomes),
            **{status: statuses.count(status) for status in sorted(set(statuses))},
            "sources": sorted({outcome.event.source for outcome in outcomes if outcome.event}),
            "oldest_lag_s": round(max(lags), 3) if lags else None,
            "duration_ms": round((time.perf_counter() - started) * 1000, 2),
        },
    )
