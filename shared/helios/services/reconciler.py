"""From events to verdicts: each batch adds its evidence to the flow instances it belongs to, in its own transaction."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from operator import attrgetter
from typing import NamedTuple, TypeVar

from msgspec.structs import replace

from helios.model.events import Event, Source
from helios.model.flows import Due, FlowStatus
from helios.model.stream import MAX_FRAME_FLOWS, FlowChange
from helios.ports.pending import Pending
from helios.ports.unit_of_work import UnitOfWork
from helios.reconciliation.declaration import Flow
from helios.reconciliation.evaluate import BEFORE, FlowEvaluator
from helios.reconciliation.evidence import EvidenceExtractor, EvidenceSet, merge
from helios.reconciliation.record import FlowCount, FlowKey, FlowRecord, by_status, differences, moment_of, record
from helios.reconciliation.silence import LOOKBACK, deferring_sources

MAX_DEFERRAL = timedelta(hours=1)
"""How long after its deadline an instance is evaluated although a cloud is still silent."""

MIN_ROWS_TO_HALVE = 100
"""With fewer rows, a second statement costs more than an idle database."""

T = TypeVar("T")


class FlowChanges(NamedTuple):
    """What a batch or a sweep changed, as its frame reports it.

    Attributes:
        flows: the last instances whose verdict or issues changed, at most MAX_FRAME_FLOWS.
        statuses: by flow, how many more or fewer instances have each verdict than before; exact.
    """

    flows: list[FlowChange]
    statuses: dict[str, dict[FlowStatus, int]]


Transition = tuple[FlowRecord | None, FlowRecord]
"""An instance before and after."""


class PendingFlows(NamedTuple):
    """The evidence in a batch, and the instances that it belongs to.

    Attributes:
        evidence_sets: the evidence by instance, sorted.
        finds: the stored instances, one result per half of the batch.
    """

    evidence_sets: dict[FlowKey, EvidenceSet]
    finds: list[Pending[dict[FlowKey, FlowRecord]]]


class Evaluation(NamedTuple):
    """The instances of a batch, evaluated and on their way into the store.

    Attributes:
        transitions: every instance.
        counts: what the transitions add to the sums.
        writes: the instances that were refused, one result per half of the instances.
    """

    transitions: list[Transition]
    counts: list[FlowCount]
    writes: list[Pending[set[FlowKey]]]


class Reconciler:
    """Updates the instances of the declared flows.

    A batch takes at most six statements for any number of instances, and eight if other writers change the same
    instances meanwhile. The steps (collect, evaluate, finalize) are separate, so that the database works on one step
    while Python prepares the next: ``batch_write`` has the schedule.

    Attributes:
        evaluators: the evaluators by the name of their flow.
    """

    def __init__(self, flows: Sequence[Flow]) -> None:
        self.evaluators = {flow.name: FlowEvaluator(flow) for flow in flows}
        self._extractor = EvidenceExtractor(flows)

    def collect(self, events: Sequence[Event], work: UnitOfWork) -> PendingFlows:
        """Collect the evidence in a batch, and begin to read its instances: one half while the other is collected.

        Args:
            events: those of every readable delivery, duplicates and contradictions included.
            work: the unit of work that stores the batch.
        """
        evidence_sets: dict[FlowKey, list[EvidenceSet]] = defaultdict(list)
        finds = []
        for half in halves(events):
            keys = set()
            for event in half:
                for flow, key, evidence in self._extractor.extract(event):
                    identity = (flow.name, key)
                    keys.add(identity)
                    evidence_sets[identity].append(EvidenceSet(items=[evidence]))
            finds.append(work.flows.find(keys))
        if evidence_sets:
            work.sync()
        # Sorted, because concurrent writers of the same instances in different order deadlock.
        return PendingFlows({key: merge(evidence_sets[key]) for key in sorted(evidence_sets)}, finds)

    def evaluate(self, pending: PendingFlows, work: UnitOfWork) -> Evaluation:
        """Add the evidence to its instances, and begin to write them: one half while the other is evaluated.

        Only ``expire`` acts on deadlines, because only it reads whether a cloud is silent.
        """
        records = {key: instance for find in pending.finds for key, instance in find.result().items()}
        transitions: list[Transition] = []
        writes = []
        for half in halves(list(pending.evidence_sets.items())):
            evaluated = self._evaluate(half, records)
            writes.append(work.flows.write([after for _, after in evaluated]))
            transitions += evaluated
        return Evaluation(transitions, differences(transitions), writes)

    def finalize(self, pending: PendingFlows, evaluation: Evaluation, work: UnitOfWork) -> FlowChanges:
        """Evaluate again what another writer has changed meanwhile, and add to the sums.

        Args:
            pending: what ``collect`` returned in this unit of work.
            evaluation: what ``evaluate`` made of it.
            work: the unit of work; nothing may have been counted in it yet, since later writers wait for the counts.
        """
        transitions, counts, writes = evaluation
        if refused := {key for write in writes for key in write.result()}:
            stale = {key: evidence_set for key, evidence_set in pending.evidence_sets.items() if key in refused}
            reevaluated = self._evaluate(stale.items(), work.flows.find(stale.keys()).result())
            work.flows.write([after for _, after in reevaluated])
            transitions = [pair for pair in transitions if pair[1].identity not in refused] + reevaluated
            counts = differences(transitions)
        return count_changes(transitions, counts, work)

    def expire(self, now: datetime, work: UnitOfWork, *, limit: int) -> tuple[int, FlowChanges]:
        """Evaluate at most ``limit`` instances whose deadline has passed; return how many, and what changed.

        An instance that waits only for silent clouds is deferred until these send again, plus the grace period, and for
        at most MAX_DEFERRAL.
        """
        minutes = work.counts.minutes(now - LOOKBACK)
        silent = {name: deferring_sources(minutes, now, evaluator.grace) for name, evaluator in self.evaluators.items()}
        due = [
            Due(name, opened_by=now - evaluator.time_to_deadline, deferred_by=now if silent[name] else None)
            for name, evaluator in self.evaluators.items()
        ]
        transitions: list[Transition] = []
        for before in work.flows.overdue(due, limit=limit):
            evidence_set = self._deferred(before, silent[before.flow], now)
            evaluator = self.evaluators[before.flow]
            after = record(evaluator, before.key, evidence_set, now=now, version=before.version + 1)
            transitions.append((before, after))
        work.flows.write(sorted([after for _, after in transitions], key=_identity))
        return len(transitions), count_changes(transitions, differences(transitions), work)

    def _deferred(self, overdue: FlowRecord, silent: set[Source], now: datetime) -> EvidenceSet:
        """The evidence of an overdue instance, its deadline deferred while it waits for silent clouds only."""
        evaluator, evidence_set = self.evaluators[overdue.flow], overdue.evidence_set
        if silent and evaluator.missing_sources(evidence_set) <= silent:
            return replace(evidence_set, deferred_until=overdue.opened_at + evaluator.time_to_deadline + MAX_DEFERRAL)
        if evidence_set.deferred_until:
            return replace(evidence_set, deferred_until=min(evidence_set.deferred_until, now))
        return evidence_set

    def _evaluate(
        self, evidence_sets: Iterable[tuple[FlowKey, EvidenceSet]], records: Mapping[FlowKey, FlowRecord]
    ) -> list[Transition]:
        transitions: list[Transition] = []
        for (flow, key), evidence_set in evidence_sets:
            before, evaluator = records.get((flow, key)), self.evaluators[flow]
            if before is None:
                after = record(evaluator, key, evidence_set, now=BEFORE, version=1)
            else:
                merged = merge([before.evidence_set, evidence_set])
                after = record(evaluator, key, merged, now=moment_of(before), version=before.version + 1)
            transitions.append((before, after))
        return transitions


def halves(rows: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    """The rows to write first, and the rows to prepare meanwhile. Of few rows the first half is empty."""
    half = len(rows) // 2 if len(rows) >= MIN_ROWS_TO_HALVE else 0
    return rows[:half], rows[half:]


def count_changes(transitions: Sequence[Transition], counts: Sequence[FlowCount], work: UnitOfWork) -> FlowChanges:
    """Add the counts to the sums, and return the changes for the frame."""
    if counts:
        work.flows.count(counts)
    changed = (
        _change(before, after)
        for before, after in reversed(transitions)
        if before is None or before.status != after.status or before.issues != after.issues
    )
    return FlowChanges([*islice(changed, MAX_FRAME_FLOWS)][::-1], by_status(counts))


_identity = attrgetter("identity")


def _change(before: FlowRecord | None, after: FlowRecord) -> FlowChange:
    return FlowChange(
        flow=after.flow,
        key=after.key,
        status=after.status,
        previous=before.status if before else None,
        issues=after.issues,
        amount=after.amount,
        opened_at=after.opened_at,
    )
