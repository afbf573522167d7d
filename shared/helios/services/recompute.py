"""Recomputes verdicts from stored evidence and events, after the declared flows have changed."""

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

from msgspec.structs import replace

from helios.messages import encode_recompute, fitting
from helios.model.events import Event, EventFilter, Key
from helios.model.flow_versions import Recompute
from helios.model.flows import FlowStatus
from helios.model.stream import Frame
from helios.notify import notify_best_effort
from helios.ports.events import EventReader
from helios.ports.flow_versions import Recomputes
from helios.ports.log import DeliveryLog
from helios.ports.stream import Notifier
from helios.ports.unit_of_work import EventStore, UnitOfWork
from helios.reconciliation.evaluate import FlowEvaluator
from helios.reconciliation.evidence import Evidence, EvidenceExtractor, EvidenceSet, Identity, first_receipts
from helios.reconciliation.fold import FlowChanges, Transition, changes_of, is_same_record
from helios.reconciliation.record import FlowKey, FlowRecord, differences
from helios.reconciliation.reread import complete
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
    log: DeliveryLog | None = None,
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
        log: takes every record, for the engine that judges and may lack some of its evidence; None: Postgres judges.
        dry_run: return what would change, and write nothing.

    Raises:
        Retryable: the store or the log can't be reached. What was written before stays written.
    """
    recomputer = _Recomputer(reconciler, flow, now, reader, log, sends_all=True)
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
        log: DeliveryLog | None = None,
    ) -> None:
        """Take the ports.

        Args:
            recomputes: the recomputes that approvals have started.
            rules: the rules in force.
            reader: finds the events.
            store: holds the instances.
            notifier: notified of new frames.
            is_due: whether no other engine judges by earlier rules any more. Until then, no recompute begins.
            log: takes the records that change or wait, for the engine that judges; None: Postgres judges.
        """
        self._is_due = is_due
        self._log = log
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
        if self._log:
            self._rules.refresh()
            self._recomputes.end_waiting(self._rules.evaluators.keys())
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
        recomputer = _Recomputer(reconciler, recompute.flow, now, self._reader, self._log, sends_all=False)
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

    def __init__(
        self,
        reconciler: Reconciler,
        flow: str | None,
        now: datetime,
        reader: EventReader,
        log: DeliveryLog | None = None,
        *,
        sends_all: bool,
    ) -> None:
        flows = [evaluator.flow for name, evaluator in reconciler.evaluators.items() if flow in {None, name}]
        self._log = log
        self._sends_all = sends_all
        self._fold = reconciler.fold
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
        """The instances of the events that change, and the changes. They are written unless it is a dry run.

        Raises:
            Retryable: the store or the log can't be reached.
        """
        evidence = extract(self._extractor, events)
        evaluated = self._transitions(evidence, sorted(evidence), work)
        transitions = _changed(evaluated)
        if dry_run:
            return transitions, FlowChanges([], {}, [])
        refused = work.flows.write([after for _, after in transitions]).result()
        if stale := [after.identity for _, after in transitions if after.identity in refused]:
            # Another writer has changed these instances meanwhile. Now they are locked.
            reevaluated = self._transitions(evidence, stale, work)
            work.flows.write([after for _, after in _changed(reevaluated)])
            evaluated = [pair for pair in evaluated if pair[1].identity not in refused] + reevaluated
            transitions = _changed(evaluated)
        # Before the commit: if the log does not take it, nothing is written, and the page is evaluated again.
        self._append_evaluated(evaluated)
        return transitions, changes_of(transitions, differences(transitions))

    def _transitions(
        self, evidence: Mapping[FlowKey, Mapping[Key, list[Evidence]]], keys: Collection[FlowKey], work: UnitOfWork
    ) -> list[Transition]:
        """Each instance before and after, whether or not it changes."""
        records = work.flows.find(keys).result()
        receipts = receipts_of(records.values())
        events = work.events.get(sorted(receipts))
        # Postgres may no longer have some of them, and the archive has them.
        found = self._reader.find(receipts.keys() - events.keys(), received_at=receipts)
        events |= {event.key: event for event in found}
        stored = extract(self._extractor, list(events.values()))
        transitions: list[Transition] = []
        for key in keys:
            before, evaluator = records.get(key), self._fold.evaluators[key[0]]
            evidence_set = reread_evidence(evaluator, before, {**evidence[key], **stored.get(key, {})}, events)
            transitions.append((before, self._fold.reevaluate(before, key, evidence_set, now=self._now)))
        return transitions

    def _append_evaluated(self, transitions: Iterable[Transition]) -> None:
        """Append to the log what the records of the job may lack.

        Of one that waits, the job then takes the deadline by the rules of now.
        """
        messages = [
            encode_recompute(after, dropped=_dropped(before, after), generation=self._generation)
            for before, after in transitions
            if self._sends_all or after.waiting or not is_same_record(before, after)
        ]
        if messages and self._log:
            self._log.append(fitting(messages))


def _changed(transitions: Iterable[Transition]) -> list[Transition]:
    return [(before, after) for before, after in transitions if not is_same_record(before, after)]


def _dropped(before: FlowRecord | None, after: FlowRecord) -> list[Identity]:
    """The recorded evidence that the rules of now leave out. The overflow of a leg counts what it does not list."""
    if before is None:
        return []
    left = {item.identity for item in after.evidence_set.items}
    return [
        item.identity
        for item in before.evidence_set.items
        if item.identity not in left and item.leg not in after.evidence_set.overflow
    ]


def receipts_of(records: Iterable[FlowRecord]) -> dict[Key, datetime]:
    """When each event was received of which instances have evidence."""
    return first_receipts(item for instance in records for item in instance.evidence_set.items)


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
    recorded = before.evidence_set if before else EvidenceSet(items=[])
    types = {leg.name: leg.type for leg in evaluator.flow.leg}
    # A variant that differs from the stored event stays: only the evidence has it.
    dropped = {
        item.identity
        for item in recorded.items
        if item.identity not in fresh
        and (event := stored.get(item.key))
        and event.type != types.get(item.leg, event.type)
    }
    return complete(evaluator, recorded, EvidenceSet(items=list(fresh.values())), dropped=dropped)
