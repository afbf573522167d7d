"""Verdicts anew, from the evidence and the events that are kept: what is due after the rules have changed."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from msgspec.structs import replace

from helios.model.events import Event, EventFilter, Key
from helios.model.flows import FlowStatus
from helios.model.stream import Frame
from helios.notify import notify_best_effort
from helios.ports.events import EventReader
from helios.ports.stream import Notifier
from helios.ports.unit_of_work import EventStore, UnitOfWork
from helios.reconciliation.declaration import Flow
from helios.reconciliation.evaluate import BEFORE
from helios.reconciliation.evidence import Evidence, EvidenceSet, Interest, add_up
from helios.reconciliation.record import FlowKey, FlowRecord, differences, record
from helios.services.reconciler import FlowChanges, Reconciler, Transition, counted

BATCH = 200
"""Events whose stories are judged in one transaction, so that none holds its locks for long."""

Changed = dict[FlowKey, tuple[FlowStatus | None, FlowStatus]]


class Recomputed(NamedTuple):
    """What was judged.

    Attributes:
        events: how many were read.
        changed: the verdict before and after of every story whose row is not what it was; None: it is new.
    """

    events: int
    changed: Changed


def recompute(
    where: EventFilter,
    now: datetime,
    *,
    flow: str | None,
    reader: EventReader,
    store: EventStore,
    reconciler: Reconciler,
    notifier: Notifier | None = None,
    dry_run: bool = False,
) -> Recomputed:
    """Judge by the present rules all stories that some stored events tell of, and bring rows and sums up to date.

    Safe beside ingest and beside itself, and to be ended and begun again at any point: what is as it should be is not
    written. Whether a deadline has passed is left to the sweep where a story still waits, or does from now on. A story
    of which the rules leave nothing stays as it is.

    Args:
        where: the events to begin with; of their stories all is read that is kept.
        now: decides which verdicts still stand that a deadline has brought about.
        flow: only its stories; None: those of every flow.
        reader: finds the events.
        store: holds the stories.
        reconciler: knows the rules.
        notifier: told when there are new frames.
        dry_run: only tell what would change.

    Raises:
        Retryable: the store is away; what was written before that stays.
    """
    anew = _Anew(reconciler, flow, now)
    events, changed, after = 0, Changed(), None
    while True:
        page = reader.events(where, after=after, limit=BATCH)
        events += len(page.items)
        with store.transaction() as work:
            transitions, changes = anew.evaluate(page.items, work, dry_run=dry_run)
            if changes.flows or changes.statuses:
                frame = Frame(counts=[], events=[], flows=changes.flows, flow_statuses=changes.statuses)
                work.stream.publish(frame, [])
        for before, instance in transitions:
            first, _ = changed.get(instance.identity, (before.status if before else None, instance.status))
            changed[instance.identity] = (first, instance.status)
        after = page.next_cursor
        if after is None:
            break
    if changed and not dry_run:
        notify_best_effort(notifier)
    return Recomputed(events, changed)


class _Anew:
    """Judges stories from all that is kept of them."""

    def __init__(self, reconciler: Reconciler, flow: str | None, now: datetime) -> None:
        self._evaluators = {
            name: evaluator for name, evaluator in reconciler.evaluators.items() if flow in {None, name}
        }
        self._interest = Interest([evaluator.flow for evaluator in self._evaluators.values()])
        self._now = now

    def evaluate(
        self, events: Sequence[Event], work: UnitOfWork, *, dry_run: bool
    ) -> tuple[list[Transition], FlowChanges]:
        """Those of the events' stories that are no longer what they were; written, unless it is only a trial."""
        told = self._told(events)
        transitions = self._differing(told, sorted(told), work)
        if dry_run or not transitions:
            return transitions, FlowChanges([], {})
        refused = work.flows.write([after for _, after in transitions]).result()
        if stale := [after.identity for _, after in transitions if after.identity in refused]:
            # Somebody has told more of them meanwhile; now they are locked.
            again = self._differing(told, stale, work)
            work.flows.write([after for _, after in again])
            transitions = [one for one in transitions if one[1].identity not in refused] + again
        return transitions, counted(transitions, differences(transitions), work)

    def _told(self, events: Sequence[Event]) -> dict[FlowKey, dict[Key, list[Evidence]]]:
        """What each event says of each story."""
        told: dict[FlowKey, dict[Key, list[Evidence]]] = defaultdict(dict)
        for event in events:
            for clue in self._interest.clues(event):
                told[clue.flow.name, clue.key].setdefault(event.key, []).append(clue.evidence)
        return told

    def _differing(
        self, told: Mapping[FlowKey, Mapping[Key, list[Evidence]]], keys: Collection[FlowKey], work: UnitOfWork
    ) -> list[Transition]:
        kept = work.flows.find(keys).result()
        items = {(item.source, item.id) for instance in kept.values() for item in instance.evidence_set.items}
        events = work.events.get(sorted(items))
        stored = self._told(list(events.values()))
        transitions: list[Transition] = []
        for key in keys:
            before, evaluator = kept.get(key), self._evaluators[key[0]]
            evidence_set = _evidence_set(evaluator.flow, before, {**told[key], **stored.get(key, {})}, events)
            after = record(
                evaluator,
                key[1],
                evidence_set,
                now=BEFORE if before is None or before.waiting else self._now,
                version=before.version + 1 if before else 1,
            )
            if before is None or replace(before, version=after.version) != after:
                transitions.append((before, after))
        return transitions


def _evidence_set(
    flow: Flow, before: FlowRecord | None, told: Mapping[Key, list[Evidence]], stored: Mapping[Key, Event]
) -> EvidenceSet:
    """All evidence of a story: what is kept, read again where its event is stored, and what was no evidence before."""
    fresh = {item.identity: item for items in told.values() for item in items}
    if before is None:
        return add_up([EvidenceSet(items=[item]) for item in fresh.values()])
    legs = {leg.name: leg for leg in flow.leg}
    items = []
    for item in before.evidence_set.items:
        leg, event = legs.get(item.leg), stored.get((item.source, item.id))
        if again := fresh.pop(item.identity, None):
            items.append(replace(item, fields=again.fields))
        elif leg and leg.source in {None, item.source} and (event is None or event.type == leg.type):
            items.append(item)  # another variant than the stored one, of which this is all that is known
    overflow = {name: number for name, number in before.evidence_set.overflow.items() if name in legs}
    # Of a leg that has more deliveries than are kept, what is not kept is counted already.
    items += [item for item in fresh.values() if item.leg not in overflow]
    return add_up([replace(before.evidence_set, items=[], overflow=overflow), EvidenceSet(items=items)])
