"""Recomputes verdicts from stored evidence and events, after the declared flows have changed."""

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
from helios.reconciliation.evidence import Evidence, EvidenceExtractor, EvidenceSet, merge
from helios.reconciliation.record import FlowKey, FlowRecord, differences, record
from helios.services.reconciler import FlowChanges, Reconciler, Transition, count_changes

BATCH = 200
"""Events whose instances are evaluated in one transaction, so that none holds its locks for long."""

VerdictChanges = dict[FlowKey, tuple[FlowStatus | None, FlowStatus]]


class RecomputeResult(NamedTuple):
    """What was recomputed.

    Attributes:
        events: the number of events that were read.
        changes: the verdict before and after of every instance whose record changed; None before: it is new.
    """

    events: int
    changes: VerdictChanges


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
) -> RecomputeResult:
    """Evaluate the flow instances of stored events by the current rules, and update their records and sums.

    It is safe to run beside ingest and beside another recompute, and to interrupt and restart at any point: records
    that are already right are not written. For an instance that waits, or waits under the current rules, the sweep
    decides whether its deadline has passed. An instance that has no event left under the current rules stays as it is.

    Args:
        where: the events to begin with; all stored evidence of their instances is read.
        now: decides whether verdicts that followed from a deadline are still right.
        flow: the flow whose instances are recomputed; None: every flow.
        reader: finds the events.
        store: holds the instances.
        reconciler: has the current rules.
        notifier: notified of new frames; None: the relay finds the frames at its next turn.
        dry_run: return what would change, and write nothing.

    Raises:
        Retryable: the store can't be reached. What was written before stays written.
    """
    recomputer = _Recomputer(reconciler, flow, now)
    events, verdict_changes, after = 0, VerdictChanges(), None
    while True:
        page = reader.events(where, after=after, limit=BATCH)
        events += len(page.items)
        with store.transaction() as work:
            transitions, changes = recomputer.evaluate(page.items, work, dry_run=dry_run)
            if changes.flows or changes.statuses:
                frame = Frame(counts=[], events=[], flows=changes.flows, flow_statuses=changes.statuses)
                work.stream.publish(frame, [])
        for before, instance in transitions:
            first, _ = verdict_changes.get(instance.identity, (before.status if before else None, instance.status))
            verdict_changes[instance.identity] = (first, instance.status)
        after = page.next_cursor
        if after is None:
            break
    if verdict_changes and not dry_run:
        notify_best_effort(notifier)
    return RecomputeResult(events, verdict_changes)


class _Recomputer:
    """Evaluates instances from their stored evidence and events."""

    def __init__(self, reconciler: Reconciler, flow: str | None, now: datetime) -> None:
        self._evaluators = {
            name: evaluator for name, evaluator in reconciler.evaluators.items() if flow in {None, name}
        }
        self._extractor = EvidenceExtractor([evaluator.flow for evaluator in self._evaluators.values()])
        self._now = now

    def evaluate(
        self, events: Sequence[Event], work: UnitOfWork, *, dry_run: bool
    ) -> tuple[list[Transition], FlowChanges]:
        """The instances of the events that change, and the changes. They are written unless it is a dry run."""
        evidence = self._extract(events)
        transitions = self._transitions(evidence, sorted(evidence), work)
        if dry_run or not transitions:
            return transitions, FlowChanges([], {})
        refused = work.flows.write([after for _, after in transitions]).result()
        if stale := [after.identity for _, after in transitions if after.identity in refused]:
            # Another writer has changed these instances meanwhile. Now they are locked.
            reevaluated = self._transitions(evidence, stale, work)
            work.flows.write([after for _, after in reevaluated])
            transitions = [pair for pair in transitions if pair[1].identity not in refused] + reevaluated
        return transitions, count_changes(transitions, differences(transitions), work)

    def _extract(self, events: Sequence[Event]) -> dict[FlowKey, dict[Key, list[Evidence]]]:
        """The evidence of each event, by instance."""
        evidence: dict[FlowKey, dict[Key, list[Evidence]]] = defaultdict(dict)
        for event in events:
            for keyed in self._extractor.extract(event):
                evidence[keyed.flow.name, keyed.key].setdefault(event.key, []).append(keyed.evidence)
        return evidence

    def _transitions(
        self, evidence: Mapping[FlowKey, Mapping[Key, list[Evidence]]], keys: Collection[FlowKey], work: UnitOfWork
    ) -> list[Transition]:
        records = work.flows.find(keys).result()
        items = {(item.source, item.id) for instance in records.values() for item in instance.evidence_set.items}
        events = work.events.get(sorted(items))
        stored = self._extract(list(events.values()))
        transitions: list[Transition] = []
        for key in keys:
            before, evaluator = records.get(key), self._evaluators[key[0]]
            evidence_set = _evidence_set(evaluator.flow, before, {**evidence[key], **stored.get(key, {})}, events)
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
    flow: Flow, before: FlowRecord | None, evidence: Mapping[Key, list[Evidence]], stored: Mapping[Key, Event]
) -> EvidenceSet:
    """All evidence of an instance: the recorded evidence, with its fields read again where the event is stored.

    To this it adds the evidence of events that did not belong to the instance under the earlier rules.
    """
    fresh = {item.identity: item for items in evidence.values() for item in items}
    if before is None:
        return merge([EvidenceSet(items=[item]) for item in fresh.values()])
    legs = {leg.name: leg for leg in flow.leg}
    items = []
    for item in before.evidence_set.items:
        leg, event = legs.get(item.leg), stored.get((item.source, item.id))
        if reread := fresh.pop(item.identity, None):
            items.append(replace(item, fields=reread.fields))
        elif leg and leg.source in {None, item.source} and (event is None or event.type == leg.type):
            items.append(item)  # a variant that differs from the stored event: only the evidence has it
    overflow = {name: number for name, number in before.evidence_set.overflow.items() if name in legs}
    # If a leg has overflowed, its overflow already counts the evidence that is not listed.
    items += [item for item in fresh.values() if item.leg not in overflow]
    return merge([replace(before.evidence_set, items=[], overflow=overflow), EvidenceSet(items=items)])
