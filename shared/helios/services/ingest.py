"""Stores each event exactly once, and every other delivery as a dead letter with its reason."""

import logging
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from helios.errors import DEFECTS, ConflictError, Rejected, Retryable
from helios.model.events import Delivery, Event, Fault, Outcome
from helios.normalise.redact import Redaction
from helios.notify import notify_best_effort
from helios.ports.events import DedupeCache
from helios.ports.stream import Notifier
from helios.ports.unit_of_work import EventStore, UnitOfWork
from helios.reconciliation.record import FlowKey, FlowRecord
from helios.services.batch_write import BatchWrite, ErasedEvents
from helios.services.hints import Assumptions, hints
from helios.services.new_batch import Stored, candidate, store_candidate
from helios.services.outcomes import log_batch
from helios.services.reading import Reading, fault_of, internal_error_rejection, read
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

    def __call__(  # noqa: D102 - above
        self, deliveries: Sequence[Delivery], *, also_write: AlsoWrite | None = None, accept: bool = False
    ) -> list[Outcome]: ...


def ingest(
    deliveries: Sequence[Delivery],
    *,
    dedupe: DedupeCache,
    store: EventStore,
    reconciler: Reconciler | None = None,
    redaction: Redaction | None = None,
    notifier: Notifier | None = None,
    also_write: AlsoWrite | None = None,
    horizon: timedelta | None = None,
    assumptions: Assumptions | None = None,
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
        horizon: how long identities are stored. An event beyond it becomes a dead letter. None: forever.
        assumptions: what the process has learned about its batches; None: nothing.

    Returns:
        What became of each delivery, in the same order.

    Raises:
        Retryable: the outcome is unknown. The cloud must deliver all of them again, which is safe.
        Rejected: only with ``also_write``: one delivery can't be stored, so none was.
    """
    started = time.perf_counter()
    readings = [read(delivery, redaction) for delivery in deliveries]
    reconciler = reconciler or _NO_FLOWS
    batch = None if also_write else candidate(readings, reconciler, horizon)
    keys: set[tuple[str, ...]] = {reading.content.key for reading in readings if isinstance(reading.content, Event)}
    if batch:
        keys |= batch.evidence_sets.keys()
    assumptions = assumptions or Assumptions()
    hinted = hints(keys, dedupe, assumptions, is_small=batch is not None)
    stored = batch and store_candidate(batch, hinted, store=store, reconciler=reconciler, assumptions=assumptions)
    if not stored:
        writer = _Writer(store, hinted.known, reconciler, horizon, {})
        outcomes = _store_without_erased(readings, writer, also_write)
        stored = Stored(outcomes, list(writer.instances.values()))
    outcomes = stored.outcomes
    committed = {
        outcome.event.key for outcome in outcomes if outcome.event and outcome.status in {"stored", "duplicate"}
    }
    waiting = {instance.identity for instance in stored.instances if instance.waiting}
    known = (committed | waiting) - hinted.known
    if batch:
        assumptions.recent.add(known)
        assumptions.recent_records.add(stored.instances)
    dedupe.add(known)
    notify_best_effort(notifier)
    log_batch("ingested", outcomes, started)
    return outcomes


class _Writer(NamedTuple):
    """What writing any part of a batch needs; see ``BatchWrite``.

    Attributes:
        instances: the instances as it has written them last.
    """

    store: EventStore
    hinted_keys: set[tuple[str, ...]]
    reconciler: Reconciler
    horizon: timedelta | None
    instances: dict[FlowKey, FlowRecord]

    def write(self, readings: Sequence[Reading], work: UnitOfWork, *, may_conflict: bool = False) -> list[Outcome]:
        write = BatchWrite(readings, self.hinted_keys, work, self.reconciler, self.horizon, may_conflict=may_conflict)
        outcomes = write.run()
        self.instances.update((after.identity, after) for _, after in write.evaluation.transitions)
        return outcomes


def _store_without_erased(readings: list[Reading], writer: _Writer, also_write: AlsoWrite | None) -> list[Outcome]:
    """Store a batch, and again if it has events that were erased: which ones, the store knows only while it writes."""
    while True:
        try:
            return _store(readings, writer, also_write)
        except ErasedEvents as erased:
            readings = [
                replace(reading, is_erased=True)
                if isinstance(reading.content, Event) and reading.content.key in erased.keys
                else reading
                for reading in readings
            ]


def _store(
    readings: Sequence[Reading], writer: _Writer, also_write: AlsoWrite | None, *, may_conflict: bool = True
) -> list[Outcome]:
    """Store a batch. Deliveries that can't be stored become dead letters together, in a second attempt.

    A delivery that triggers a bug in Helios is treated the same way. Raising would make the cloud redeliver the whole
    batch until the bug is fixed, and block the other events in it.
    """
    try:
        with writer.store.transaction() as work:
            outcomes = writer.write(readings, work, may_conflict=may_conflict)
            if also_write:
                also_write(work, outcomes)
            return outcomes
    except ConflictError:
        if not may_conflict:
            raise
        log.info("another writer has changed the same flow instances", extra={"events": len(readings)})
        return _store(readings, writer, also_write, may_conflict=False)
    except (Rejected, *DEFECTS) as error:
        if also_write:
            raise _rejection(readings[0], error) from error
        if len(readings) == 1:
            rejected = [_as_dead_letter(readings[0], error)]
        elif (rejected := _without_unstorable(readings, writer)) == list(readings):
            # The deliveries can't be stored together, but each of them can be stored.
            half = len(readings) // 2
            return [*_store(readings[:half], writer, None), *_store(readings[half:], writer, None)]
        return _store(rejected, writer, None)


def _without_unstorable(readings: Sequence[Reading], writer: _Writer) -> list[Reading]:
    """The same readings, with a rejection in place of each event that can't be stored.

    The search divides the batch until each of these events is alone. It writes nothing, and needs one transaction: with
    one for each attempt, a single request of such events would occupy ingest for minutes.
    """
    result = list(readings)
    failed = [range(len(readings))]
    attempts = 0
    with writer.store.transaction() as work:
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
                        writer.write([readings[index] for index in indexes], work)
                except (Rejected, *DEFECTS) as error:
                    if len(indexes) > 1:
                        failed.append(indexes)
                    else:
                        result[indexes[0]] = _as_dead_letter(readings[indexes[0]], error)
    return result


def _as_suspect(reading: Reading) -> Reading:
    if isinstance(reading.content, Fault):
        return reading
    reason = "is in a request of which too many events can't be stored: replay it, or send smaller requests"
    return Reading(reading.delivery, Fault(reason=reason, field="body", status=400))


def _as_dead_letter(reading: Reading, error: Exception) -> Reading:
    rejection = _rejection(reading, error)
    if isinstance(reading.content, Fault):
        # A second delivery is better than a lost one. No sender in the batch gets the error of another's event.
        raise Retryable(f"the dead letter can't be stored: {rejection.reason}") from error
    return Reading(reading.delivery, fault_of(rejection))


def _rejection(reading: Reading, error: Exception) -> Rejected:
    return error if isinstance(error, Rejected) else internal_error_rejection(reading.delivery, error)
