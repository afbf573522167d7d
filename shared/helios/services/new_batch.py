"""Stores a small batch of new events in one round trip, where nothing hints that the store knows any of them.

What is assumed may be wrong. The store then writes nothing. If an instance was known, the batch is prepared again on
what is stored, which the store sends with its refusal. If an event was known, ``batch_write`` stores the batch. So a
wrong hint costs one to three round trips, and never an event. The steps::

    Python                                          round trips
    candidate                                       -
      looks for a delivery that is no new event
      extracts the evidence
    (ingest: hints)                                 1 to Redis, or none
    store_candidate
      reads the instances, if some may be known     1, or none if this process has written it last
      evaluates the instances
      store_new                                     1, with the commit
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

from helios.errors import DEFECTS, AlreadyStored, Rejected
from helios.model.balances import MANIFEST_TYPE
from helios.model.events import Delivery, Event, Key, Outcome
from helios.model.stream import Frame
from helios.normalise.replay_marks import is_replay
from helios.ports.unit_of_work import EventStore, InstancesChanged, NewBatch
from helios.reconciliation.evidence import EvidenceSet
from helios.reconciliation.record import FlowKey, FlowRecord
from helios.services.hints import Assumption, Assumptions, Hints
from helios.services.identity import is_beyond_horizon
from helios.services.outcomes import summaries, tally
from helios.services.reading import Reading
from helios.services.reconciler import MIN_ROWS_TO_HALVE, Reconciler

log = logging.getLogger("helios.ingest")

ATTEMPTS = 4
"""How often a batch is prepared whose instances other writers change meanwhile. ``batch_write`` then locks them."""


class Candidate(NamedTuple):
    """A batch whose events may all be new.

    Attributes:
        deliveries: in order of arrival.
        events: the event of each delivery.
        first_by_key: the event of each identity.
        evidence_sets: the evidence by instance, sorted.
    """

    deliveries: Sequence[Delivery]
    events: Sequence[Event]
    first_by_key: dict[Key, Event]
    evidence_sets: dict[FlowKey, EvidenceSet]

    def outcomes(self) -> list[Outcome]:
        """What becomes of each delivery if the events are new."""
        return [Outcome(status="stored", event=event) for event in self.events]


class Stored(NamedTuple):
    """What became of a candidate that was stored.

    Attributes:
        outcomes: an outcome per delivery.
        instances: the instances as they were written.
    """

    outcomes: list[Outcome]
    instances: Sequence[FlowRecord]


def candidate(readings: Sequence[Reading], reconciler: Reconciler, horizon: timedelta | None) -> Candidate | None:
    """The batch as one of new events; None if it is large, or has a manifest or what can't become a new event."""
    if len(readings) >= MIN_ROWS_TO_HALVE:
        return None  # the store works on the first half while Python prepares the second, which saves more
    events: list[Event] = []
    first_by_key: dict[Key, Event] = {}
    for reading in readings:
        event = reading.content
        if not isinstance(event, Event) or is_replay(reading.delivery) or is_beyond_horizon(event, horizon):
            return None
        if event.type == MANIFEST_TYPE or first_by_key.setdefault(event.key, event) is not event:
            return None
        events.append(event)
    try:
        evidence_sets = reconciler.evidence(events)
    except DEFECTS:
        return None  # batch_write finds the event, and reports the bug
    return Candidate([reading.delivery for reading in readings], events, first_by_key, evidence_sets)


def store_candidate(
    batch: Candidate, hints: Hints, *, store: EventStore, reconciler: Reconciler, assumptions: Assumptions
) -> Stored | None:
    """Store a batch of new events; None if it was not stored, and ``batch_write`` must do it.

    Args:
        batch: the batch.
        hints: what is known already.
        store: stores the batch.
        reconciler: evaluates the instances.
        assumptions: what this process assumes; learns from the result.

    Raises:
        Retryable: the outcome is unknown.
    """
    if not batch.first_by_key.keys().isdisjoint(hints.known):
        return None
    if not hints.are_own and not assumptions.events.is_worth_it():
        return None
    events = assumptions.cache if hints.are_own else assumptions.events
    try:
        stored = _store(batch, hints, store=store, reconciler=reconciler, assumptions=assumptions)
    except AlreadyStored:
        events.learn(was_right=False)
        return None
    except (Rejected, *DEFECTS):
        return None  # batch_write finds the event that can't be stored
    if not hints.are_own:
        events.learn(was_right=True)
    return stored


class _Guess(NamedTuple):
    """The instances of a batch as they may be stored, without reading them.

    Attributes:
        records: the instances; none that is assumed to be new.
        assumption: what the guess relies on.
    """

    records: Mapping[FlowKey, FlowRecord]
    assumption: Assumption


def _guess(batch: Candidate, hints: Hints, assumptions: Assumptions) -> _Guess | None:
    """What this process believes of the instances; None if they have to be read."""
    keys = batch.evidence_sets.keys()
    if len(batch.events) == len(keys) == 1:
        (key,) = keys
        record = assumptions.recent_records.get(key)
        if record and assumptions.records.is_worth_it():
            return _Guess({key: record}, assumptions.records)
    if not keys.isdisjoint(hints.known):
        return None
    if hints.are_own:
        return _Guess({}, assumptions.cache)
    return _Guess({}, assumptions.instances) if assumptions.instances.is_worth_it() else None


def _store(
    batch: Candidate, hints: Hints, *, store: EventStore, reconciler: Reconciler, assumptions: Assumptions
) -> Stored | None:
    """Store the batch on its instances as they are; None if other writers change them each time."""
    keys = batch.evidence_sets.keys()
    guess = _guess(batch, hints, assumptions) if keys else None
    records = guess.records if guess else store.instances(keys) if keys else {}
    for attempt in range(ATTEMPTS):
        stored = None
        try:
            stored = _attempt(batch, records, store, reconciler)
        except InstancesChanged as changed:
            log.info("another writer has changed the same flow instances", extra={"events": len(batch.events)})
            unchanged = {} if len(keys) == 1 else records  # the only one may have been removed
            records = store.instances(keys) if changed.instances is None else {**unchanged, **changed.instances}
        if guess and attempt == 0:
            guess.assumption.learn(was_right=stored is not None)
        if stored:
            return stored
    return None


def _attempt(
    batch: Candidate, records: Mapping[FlowKey, FlowRecord], store: EventStore, reconciler: Reconciler
) -> Stored:
    """Store the batch, whose instances are these.

    Raises:
        InstancesChanged: another writer has changed one of them.
    """
    instances, changes = reconciler.apply(batch.evidence_sets, records)
    outcomes = batch.outcomes()
    frame = Frame(
        counts=tally(batch.deliveries, outcomes),
        events=summaries(list(batch.first_by_key.values())),
        flows=changes.flows,
        flow_statuses=changes.statuses,
    )
    store.store_new(
        NewBatch(
            # Sorted, because concurrent writers of the same keys in different order deadlock.
            events=[batch.first_by_key[key] for key in sorted(batch.first_by_key)],
            instances=instances,
            frame=frame,
            flow_counts=changes.counts,
            generation=reconciler.generation,
            replaced=records.get(instances[0].identity) if len(batch.events) == len(instances) == 1 else None,
        )
    )
    return Stored(outcomes, instances)
