"""Recomputes verdicts from stored evidence and events, after the declared flows have changed."""

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

from msgspec.structs import replace

from helios.model.events import Event, EventFilter, Key
from helios.model.flow_versions import Recompute
from helios.model.flows import FlowStatus
from helios.model.stream import Frame
from helios.notify import notify_best_effort
from helios.ports.events import EventReader
from helios.ports.flow_versions import Recomputes
from helios.ports.stream import Notifier
from helios.ports.unit_of_work import EventStore, UnitOfWork
from helios.reconciliation.evaluate import BEFORE, FlowEvaluator
from helios.reconciliation.evidence import Evidence, EvidenceExtractor, EvidenceSet
from helios.reconciliation.fold import FlowChanges, Transition, changes_of, is_same_record
from helios.reconciliation.record import FlowKey, FlowRecord, differences, record
from helios.services.reconciler import Reconciler
from helios.services.rules import Rules

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
    recomputer = _Recomputer(reconciler, flow, now, reader)
    events, verdict_changes, after = 0, VerdictChanges(), None
    while True:
        page = recomputer.page(where, after, store, dry_run=dry_run)
        events += page.events
        for before, instance in page.transitions:
            first, _ = verdict_changes.get(instance.identity, (before.status if before else None, instance.status))
            verdict_changes[instance.identity] = (first, instance.status)
        after = page.next_cursor
        if after is None:
            break
    if verdict_changes and not dry_run:
        notify_best_effort(notifier)
    return RecomputeResult(events, verdict_changes)


class RecomputeJob:
    """Evaluates the stored instances of a flow by the version that was approved last, page by page.

    An interrupted run leaves its place behind, and the next run of any process begins there.
    """

    def __init__(
        self,
        recomputes: Recomputes,
        rules: Rules,
        *,
        reader: EventReader,
        store: EventStore,
        notifier: Notifier,
        is_due: Callable[[], bool] = lambda: True,
    ) -> None:
        """Take the ports.

        Args:
            recomputes: the recomputes that approvals have started.
            rules: the rules in force.
            reader: finds the events.
            store: holds the instances.
            notifier: notified of new frames.
            is_due: whether no other engine judges by earlier rules any more. Until then, no recompute begins.
        """
        self._is_due = is_due
        self._recomputes = recomputes
        self._rules = rules
        self._reader = reader
        self._store = store
        self._notifier = notifier

    def run(self, now: datetime, *, seconds: float) -> int:
        """Work on the recomputes, and return the number of instances that changed.

        Args:
            now: decides whether verdicts that followed from a deadline are still right.
            seconds: the time after which no second page of a recompute begins.

        Raises:
            Retryable: the store can't be reached.
        """
        deadline, changed = time.monotonic() + seconds, 0
        unfinished = self._recomputes.unfinished()
        if unfinished and not self._is_due():
            return 0
        if unfinished:
            # A page that changes nothing is not compared with the generation in force.
            self._rules.refresh()
        for recompute in unfinished:
            if recompute.flow not in self._rules.unreadable:
                changed += self._work_on(recompute, now, deadline)
        if changed:
            notify_best_effort(self._notifier)
        return changed

    def _work_on(self, recompute: Recompute, now: datetime, deadline: float) -> int:
        changed = 0
        while True:
            page = self._rules.apply(partial(self._page, recompute, now))
            changed += len(page.transitions)
            advanced = self._recomputes.advance(
                recompute, cursor=page.next_cursor, events=page.events, instances=len(page.transitions), now=now
            )
            if not advanced or page.next_cursor is None or time.monotonic() > deadline:
                return changed
            recompute = replace(recompute, cursor=page.next_cursor)

    def _page(self, recompute: Recompute, now: datetime, reconciler: Reconciler) -> "RecomputedPage":
        recomputer = _Recomputer(reconciler, recompute.flow, now, self._reader)
        return recomputer.page(EventFilter(), recompute.cursor, self._store, dry_run=False)


class RecomputedPage(NamedTuple):
    """A page of events whose instances were evaluated.

    Attributes:
        events: the number of events that were read.
        transitions: the instances that changed.
        next_cursor: where the next page begins; None: there is none.
    """

    events: int
    transitions: list[Transition]
    next_cursor: str | None


class _Recomputer:
    """Evaluates instances from their stored evidence and events."""

    def __init__(self, reconciler: Reconciler, flow: str | None, now: datetime, reader: EventReader) -> None:
        self._evaluators = {
            name: evaluator for name, evaluator in reconciler.evaluators.items() if flow in {None, name}
        }
        flows = [evaluator.flow for evaluator in self._evaluators.values()]
        self._extractor = EvidenceExtractor(flows, reconciler.sources)
        self._generation = reconciler.generation
        self._now = now
        self._reader = reader

    def page(self, where: EventFilter, after: str | None, store: EventStore, *, dry_run: bool) -> RecomputedPage:
        """Evaluate the instances of a page of events in one transaction, and write what changes."""
        page = self._reader.events(where, after=after, limit=BATCH)
        with store.transaction() as work:
            transitions, changes = self.evaluate(page.items, work, dry_run=dry_run)
            if changes.flows or changes.counts:
                frame = Frame(counts=[], events=[], flows=changes.flows, flow_statuses=changes.statuses)
                work.stream.publish(frame, [], changes.counts, generation=self._generation)
        return RecomputedPage(len(page.items), transitions, page.next_cursor)

    def evaluate(
        self, events: Sequence[Event], work: UnitOfWork, *, dry_run: bool
    ) -> tuple[list[Transition], FlowChanges]:
        """The instances of the events that change, and the changes. They are written unless it is a dry run."""
        evidence = extract(self._extractor, events)
        transitions = self._transitions(evidence, sorted(evidence), work)
        if dry_run or not transitions:
            return transitions, FlowChanges([], {}, [])
        refused = work.flows.write([after for _, after in transitions]).result()
        if stale := [after.identity for _, after in transitions if after.identity in refused]:
            # Another writer has changed these instances meanwhile. Now they are locked.
            reevaluated = self._transitions(evidence, stale, work)
            work.flows.write([after for _, after in reevaluated])
            transitions = [pair for pair in transitions if pair[1].identity not in refused] + reevaluated
        return transitions, changes_of(transitions, differences(transitions))

    def _transitions(
        self, evidence: Mapping[FlowKey, Mapping[Key, list[Evidence]]], keys: Collection[FlowKey], work: UnitOfWork
    ) -> list[Transition]:
        records = work.flows.find(keys).result()
        items = evidence_keys(records.values())
        events = work.events.get(sorted(items))
        # Postgres may no longer have some of them, and the archive has them.
        events |= {event.key: event for event in self._reader.find(items - events.keys())}
        stored = extract(self._extractor, list(events.values()))
        transitions: list[Transition] = []
        for key in keys:
            before, evaluator = records.get(key), self._evaluators[key[0]]
            evidence_set = reread_evidence(evaluator, before, {**evidence[key], **stored.get(key, {})}, events)
            after = record(
                evaluator,
                key[1],
                evidence_set,
                now=BEFORE if before is None or before.waiting else self._now,
                version=before.version + 1 if before else 1,
            )
            if not is_same_record(before, after):
                transitions.append((before, after))
        return transitions


def evidence_keys(records: Iterable[FlowRecord]) -> set[Key]:
    """The identities of the events of which instances have evidence."""
    return {item.key for instance in records for item in instance.evidence_set.items}


def extract(extractor: EvidenceExtractor, events: Iterable[Event]) -> dict[FlowKey, dict[Key, list[Evidence]]]:
    """The evidence of each event, by instance."""
    evidence: dict[FlowKey, dict[Key, list[Evidence]]] = defaultdict(dict)
    for event in events:
        for keyed in extractor.extract(event):
            evidence[keyed.flow.name, keyed.key].setdefault(event.key, []).append(keyed.evidence)
    return evidence


def reread_evidence(
    evaluator: FlowEvaluator,
    before: FlowRecord | None,
    evidence: Mapping[Key, list[Evidence]],
    stored: Mapping[Key, Event],
) -> EvidenceSet:
    """All evidence of an instance: the recorded evidence, with its fields read again where the event is stored.

    To this it adds the evidence of events that did not belong to the instance under the earlier rules.
    """
    fresh = {item.identity: item for items in evidence.values() for item in items}
    if before is None:
        return evaluator.merge([EvidenceSet(items=[item]) for item in fresh.values()])
    legs = {leg.name: leg for leg in evaluator.flow.leg}
    items = []
    for item in before.evidence_set.items:
        leg, event = legs.get(item.leg), stored.get(item.key)
        if reread := fresh.pop(item.identity, None):
            items.append(replace(item, fields=reread.fields))
        elif leg and leg.source in {None, item.source} and (event is None or event.type == leg.type):
            items.append(item)  # a variant that differs from the stored event: only the evidence has it
    overflow = {name: number for name, number in before.evidence_set.overflow.items() if name in legs}
    # If a leg has overflowed, its overflow already counts the evidence that is not listed.
    items += [item for item in fresh.values() if item.leg not in overflow]
    return evaluator.merge([replace(before.evidence_set, items=[], overflow=overflow), EvidenceSet(items=items)])
