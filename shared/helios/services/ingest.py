"""Stores each event exactly once, and every other delivery as a dead letter with its reason."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from helios.errors import DEFECTS, Rejected, Retryable
from helios.model.events import Delivery, Event, Key, Outcome, Status
from helios.normalise import normalise
from helios.normalise.redact import Redaction
from helios.notify import notify_best_effort
from helios.ports.events import DedupeCache
from helios.ports.stream import Notifier
from helios.ports.unit_of_work import EventStore, UnitOfWork
from helios.services.batch_write import BatchWrite, Reading
from helios.services.outcomes import fingerprint_of
from helios.services.reconciler import Reconciler

log = logging.getLogger("helios.ingest")

_NO_FLOWS = Reconciler([])

SEARCH_PARTS = 8
"""Into how many parts the search for deliveries that can't be stored divides a batch. It takes 1.15 attempts a delivery
if none can be stored, where halves would take two, and 24 attempts to find a single one among 500."""

SEARCH_ATTEMPTS = 1000
"""About how many attempts the search makes: 1000 take three seconds. A batch of 500 never needs as many. A larger batch
is a single request: there all events that are still suspect become dead letters, and cost no other sender anything."""

AlsoWrite = Callable[[UnitOfWork, Sequence[Outcome]], None]
"""Writes more in the transaction that stores a batch, and can refuse the batch by raising."""


class Ingest(Protocol):
    """``ingest`` with its ports filled in."""

    def __call__(self, deliveries: Sequence[Delivery], *, also_write: AlsoWrite | None = None) -> list[Outcome]: ...  # noqa: D102 - above


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
    """Turn any number of deliveries of one event into one stored event.

    Returning means that the cloud may forget the deliveries: each is stored, as an event or as a dead letter.

    Args:
        deliveries: a batch, in order of arrival. Of two that contradict each other, the first is stored.
        dedupe: read before the store, and updated after the commit: it holds only keys of durable events.
        store: decides which events are new.
        reconciler: updates the flow instances to which the events belong; None: no flow is declared.
        redaction: replaces the fields that must not be stored; None: no field is named.
        notifier: notified of the new frame; None: the relay finds the frame at its next turn.
        also_write: writes more in the same transaction. With it a batch is stored whole or not at all.

    Returns:
        What became of each delivery, in the same order.

    Raises:
        Retryable: the outcome is unknown. The cloud must deliver all of them again, which is safe.
        Rejected: only with ``also_write``: one delivery can't be stored, so none was.
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
    notify_best_effort(notifier)
    _log(outcomes, started)
    return outcomes


def _read(delivery: Delivery, redaction: Redaction | None) -> Reading:
    try:
        return Reading(*redaction.read(delivery)) if redaction else Reading(delivery, normalise(delivery))
    except Rejected as fault:
        return Reading(redaction.for_dead_letter(delivery) if redaction else delivery, fault)
    except DEFECTS as defect:
        storable = redaction.for_dead_letter(delivery) if redaction else delivery
        return Reading(storable, internal_error_rejection(storable, defect))


def _store(
    readings: Sequence[Reading],
    hinted_keys: set[Key],
    store: EventStore,
    reconciler: Reconciler,
    also_write: AlsoWrite | None,
) -> list[Outcome]:
    """Store a batch. Deliveries that can't be stored become dead letters together, in a second attempt.

    A delivery that triggers a bug in Helios is treated the same way. Raising would make the cloud redeliver the whole
    batch until the bug is fixed, and block the other events in it.
    """
    try:
        with store.transaction() as work:
            outcomes = BatchWrite(readings, hinted_keys, work, reconciler).run()
            if also_write:
                also_write(work, outcomes)
            return outcomes
    except (Rejected, *DEFECTS) as error:
        if also_write:
            raise _rejection(readings[0], error) from error
        if len(readings) == 1:
            rejected = [_as_dead_letter(readings[0], error)]
        elif (rejected := _without_unstorable(readings, hinted_keys, store, reconciler)) == list(readings):
            # The deliveries can't be stored together, but each of them can be stored.
            half = len(readings) // 2
            return [
                outcome
                for part in (readings[:half], readings[half:])
                for outcome in _store(part, hinted_keys, store, reconciler, None)
            ]
        return _store(rejected, hinted_keys, store, reconciler, None)


def _without_unstorable(
    readings: Sequence[Reading], hinted_keys: set[Key], store: EventStore, reconciler: Reconciler
) -> list[Reading]:
    """The same readings, with a rejection in place of each event that can't be stored.

    The search divides the batch until each of these events is alone. It writes nothing, and needs one transaction: with
    one for each attempt, a single request of such events would occupy ingest for minutes.
    """
    result = list(readings)
    failed = [range(len(readings))]
    attempts = 0
    with store.transaction() as work:
        while failed:
            part = failed.pop()
            if attempts >= SEARCH_ATTEMPTS:
                for index in part:
                    result[index] = _as_suspect(readings[index])
                continue
            size = -(-len(part) // SEARCH_PARTS)
            for start in range(0, len(part), size):
                indexes = part[start : start + size]
                attempts += 1
                try:
                    with work.trial():
                        BatchWrite([readings[index] for index in indexes], hinted_keys, work, reconciler).run()
                except (Rejected, *DEFECTS) as error:
                    if len(indexes) > 1:
                        failed.append(indexes)
                    else:
                        result[indexes[0]] = _as_dead_letter(readings[indexes[0]], error)
    return result


def _as_suspect(reading: Reading) -> Reading:
    if isinstance(reading.content, Rejected):
        return reading
    reason = "is in a request of which too many events can't be stored: replay it, or send smaller requests"
    return Reading(reading.delivery, Rejected(reason, field="body"))


def _as_dead_letter(reading: Reading, error: Exception) -> Reading:
    rejection = _rejection(reading, error)
    if isinstance(reading.content, Rejected):
        # A second delivery is better than a lost one. No sender in the batch gets the error of another's event.
        raise Retryable(f"the dead letter can't be stored: {rejection.reason}") from error
    return Reading(reading.delivery, rejection)


def _rejection(reading: Reading, error: Exception) -> Rejected:
    return error if isinstance(error, Rejected) else internal_error_rejection(reading.delivery, error)


def internal_error_rejection(delivery: Delivery, defect: Exception) -> Rejected:
    """The rejection of a delivery that triggers a bug in Helios. The stack trace is logged."""
    log.error(
        "internal error",
        exc_info=defect,
        extra={"channel": delivery.channel, "fingerprint": fingerprint_of(delivery)},
    )
    return Rejected(f"Internal error ({type(defect).__name__}). Replay this event after the fix.", field="body")


def _log(outcomes: Sequence[Outcome], started: float) -> None:
    """Log one line about the batch."""
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
