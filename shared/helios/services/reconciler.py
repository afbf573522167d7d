"""From events to verdicts: each batch adds its evidence to the flow instances it belongs to, in its own transaction."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import NamedTuple, TypeVar

from helios.model.events import Event
from helios.model.flows import Due
from helios.ports.pending import Pending
from helios.ports.unit_of_work import UnitOfWork
from helios.reconciliation.declaration import Flow
from helios.reconciliation.evidence import EvidenceSet
from helios.reconciliation.fold import FlowChanges, Fold, Transition, changes_of
from helios.reconciliation.record import FlowCount, FlowKey, FlowRecord, differences
from helios.reconciliation.silence import LOOKBACK
from helios.sources.registry import CLOUDS, Sources

MIN_ROWS_TO_HALVE = 100
"""With fewer rows, a second statement costs more than an idle database."""

MAX_UNANSWERED = 50
"""The most instances that are written without waiting for the answer. With more, a conflict is likely, and the repeated
work costs more than the round trip."""

T = TypeVar("T")


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
        fold: turns evidence into records.
        evaluators: the evaluators by the name of their flow.
        sources: the sources that legs may name.
        generation: the generation of these flows, which the store compares with that of the flows in force before it
            commits what follows from them; None: it compares nothing.
    """

    def __init__(self, flows: Sequence[Flow], sources: Sources = CLOUDS, *, generation: int | None = None) -> None:
        self.fold = Fold(flows, sources)
        self.evaluators = self.fold.evaluators
        self.sources = sources
        self.generation = generation

    def evidence(self, events: Sequence[Event]) -> dict[FlowKey, EvidenceSet]:
        """The evidence in a batch by instance, sorted."""
        return self.fold.evidence(events)

    def apply(
        self, evidence_sets: Mapping[FlowKey, EvidenceSet], records: Mapping[FlowKey, FlowRecord]
    ) -> tuple[list[FlowRecord], FlowChanges]:
        """The instances with the evidence added to the stored ones, and what changed."""
        transitions = self.fold.transitions(evidence_sets.items(), records)
        return [after for _, after in transitions], changes_of(transitions, differences(transitions))

    def collect(self, events: Sequence[Event], work: UnitOfWork) -> PendingFlows:
        """Collect the evidence in a batch, and begin to read its instances: one half while the other is collected.

        Args:
            events: those of every readable delivery, duplicates and contradictions included.
            work: the unit of work that stores the batch.
        """
        evidence_sets: dict[FlowKey, list[EvidenceSet]] = defaultdict(list)
        finds = [work.flows.find(self.fold.extract(half, evidence_sets)) for half in halves(events)]
        if evidence_sets:
            work.sync()
        return PendingFlows(self.fold.merged(evidence_sets), finds)

    def evaluate(self, pending: PendingFlows, work: UnitOfWork, *, may_conflict: bool) -> Evaluation:
        """Add the evidence to its instances, and begin to write them: one half while the other is evaluated.

        Few instances are written without waiting for the answer, which would cost a small batch another round trip: if
        another writer has changed one of them, the unit of work raises ConflictError. With ``may_conflict=False`` it
        does not: ``finalize`` evaluates such an instance again.

        Only ``expire`` acts on deadlines, because only it reads whether a cloud is silent.
        """
        records = {key: instance for find in pending.finds for key, instance in find.result().items()}
        transitions: list[Transition] = []
        writes = []
        for half in halves(list(pending.evidence_sets.items())):
            evaluated = self.fold.transitions(half, records)
            after = [instance for _, instance in evaluated]
            if may_conflict and len(pending.evidence_sets) <= MAX_UNANSWERED:
                work.flows.write_all(after)
            else:
                writes.append(work.flows.write(after))
            transitions += evaluated
        return Evaluation(transitions, differences(transitions), writes)

    def finalize(self, pending: PendingFlows, evaluation: Evaluation, work: UnitOfWork) -> FlowChanges:
        """Evaluate again what another writer has changed meanwhile, and return what changed.

        Args:
            pending: what ``collect`` returned in this unit of work.
            evaluation: what ``evaluate`` made of it.
            work: the unit of work.
        """
        transitions, counts, writes = evaluation
        if refused := {key for write in writes for key in write.result()}:
            stale = {key: evidence_set for key, evidence_set in pending.evidence_sets.items() if key in refused}
            reevaluated = self.fold.transitions(stale.items(), work.flows.find(stale.keys()).result())
            work.flows.write([after for _, after in reevaluated])
            transitions = [pair for pair in transitions if pair[1].identity not in refused] + reevaluated
            counts = differences(transitions)
        return changes_of(transitions, counts)

    def expire(self, now: datetime, work: UnitOfWork, *, limit: int) -> tuple[int, FlowChanges]:
        """Evaluate at most ``limit`` instances whose deadline has passed; return how many, and what changed.

        An instance that waits only for silent clouds is deferred until these send again, plus the grace period, and for
        at most MAX_DEFERRAL.
        """
        minutes = work.counts.minutes(now - LOOKBACK)
        silent = self.fold.silent_sources(minutes, now)
        due = [
            Due(name, opened_by=now - evaluator.time_to_deadline, deferred_by=now if silent[name] else None)
            for name, evaluator in self.evaluators.items()
        ]
        transitions: list[Transition] = [
            (before, self.fold.expire(before, now=now, silent=silent[before.flow]))
            for before in work.flows.overdue(due, limit=limit)
        ]
        work.flows.write(sorted([after for _, after in transitions], key=_identity))
        return len(transitions), changes_of(transitions, differences(transitions))


def halves(rows: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    """The rows to write first, and the rows to prepare meanwhile. Of few rows the first half is empty."""
    half = len(rows) // 2 if len(rows) >= MIN_ROWS_TO_HALVE else 0
    return rows[:half], rows[half:]


_identity = attrgetter("identity")
