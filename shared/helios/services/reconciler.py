"""From outcomes to verdicts: each batch adds its evidence to the stories it tells of, in its own transaction."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from operator import attrgetter
from typing import NamedTuple, TypeVar

from msgspec.structs import replace

from helios.model.events import Event, Source
from helios.model.flows import Due, FlowStatus
from helios.model.stream import MAX_FRAME_FLOWS, FlowChange
from helios.ports.unit_of_work import UnitOfWork
from helios.reconciliation.declaration import Flow
from helios.reconciliation.evaluate import BEFORE, FlowEvaluator
from helios.reconciliation.evidence import EvidenceSet, Interest, add_up
from helios.reconciliation.record import FlowCount, FlowKey, FlowRecord, by_status, differences, moment_of, record
from helios.reconciliation.silence import LISTENED, excused

MAX_DEFERRAL = timedelta(hours=1)
"""How long after its deadline a story is judged though a cloud is still silent."""


WORTH_TWO_STATEMENTS = 100
"""From how many rows on a second statement costs less than a database that has nothing to do."""

T = TypeVar("T")


class FlowChanges(NamedTuple):
    """What a batch or a sweep changed, as a frame tells it.

    Attributes:
        flows: the last stories whose verdict or issues have changed, at most MAX_FRAME_FLOWS.
        statuses: by flow, how many more or fewer stories have each verdict than before; exact.
    """

    flows: list[FlowChange]
    statuses: dict[str, dict[FlowStatus, int]]


Transition = tuple[FlowRecord | None, FlowRecord]
"""A story before and after."""


class PendingFlows(NamedTuple):
    """What a batch says of stories.

    Attributes:
        evidence_sets: its evidence of each, sorted by story.
        finding: each reads those of a part that are kept already.
    """

    evidence_sets: dict[FlowKey, EvidenceSet]
    finding: list[Callable[[], dict[FlowKey, FlowRecord]]]


class Evaluation(NamedTuple):
    """A batch's stories, which are being written.

    Attributes:
        transitions: every one.
        counts: what they add to the sums.
        writing: each waits, and tells which of a part were not written.
    """

    transitions: list[Transition]
    counts: list[FlowCount]
    writing: list[Callable[[], set[FlowKey]]]


class Reconciler:
    """Knows the declared flows, and keeps their stories up to date.

    A batch costs at most six statements, however many stories it touches, and eight if others touch them at the same
    time. They come in steps (gather, judge, settle), so that the database works while the next one is prepared.

    Attributes:
        evaluators: who judges the stories of each flow, by its name.
    """

    def __init__(self, flows: Sequence[Flow]) -> None:
        self.evaluators = {flow.name: FlowEvaluator(flow) for flow in flows}
        self._interest = Interest(flows)

    def collect(self, events: Sequence[Event], work: UnitOfWork) -> PendingFlows:
        """Read what a batch says of stories, and look for these: for one part while the other is read.

        Args:
            events: of every delivery that could be read, duplicates and contradictions included.
            work: the one that stores the batch.
        """
        told: dict[FlowKey, list[EvidenceSet]] = defaultdict(list)
        finding = []
        for part in parted(events):
            asked = set()
            for event in part:
                for flow, key, evidence in self._interest.clues(event):
                    identity = (flow.name, key)
                    asked.add(identity)
                    told[identity].append(EvidenceSet(items=[evidence]))
            finding.append(work.find_flows(asked))
        if told:
            work.sync()
        # Sorted, because concurrent writers of the same stories in different order deadlock.
        return PendingFlows({key: add_up(told[key]) for key in sorted(told)}, finding)

    def evaluator(self, pending: PendingFlows, work: UnitOfWork) -> Evaluation:
        """Add evidence to its stories, and begin to write them: one part while the other is judged.

        That a deadline has passed is for ``expire`` to say, which knows whether a cloud is silent.
        """
        kept = {key: instance for found in pending.finding for key, instance in found().items()}
        every: list[Transition] = []
        writing = []
        for part in parted(list(pending.evidence_sets.items())):
            transitions = self._evaluate(part, kept)
            writing.append(work.write_flows([after for _, after in transitions]))
            every += transitions
        return Evaluation(every, differences(every), writing)

    def finalize(self, pending: PendingFlows, evaluation: Evaluation, work: UnitOfWork) -> FlowChanges:
        """Judge again what somebody else has written meanwhile, and count.

        Args:
            pending: in this transaction.
            evaluation: from that.
            work: has not counted yet: others wait for who has counted.
        """
        transitions, counts, writing = evaluation
        if refused := {key for written in writing for key in written()}:
            stale = {key: evidence_set for key, evidence_set in pending.evidence_sets.items() if key in refused}
            again = self._evaluate(stale.items(), work.find_flows(stale.keys())())
            work.write_flows([after for _, after in again])
            transitions = [one for one in transitions if one[1].identity not in refused] + again
            counts = differences(transitions)
        return counted(transitions, counts, work)

    def expire(self, now: datetime, work: UnitOfWork, *, limit: int) -> tuple[int, FlowChanges]:
        """Judge again at most ``limit`` stories whose deadline has passed; how many there were, and what changed.

        Those that wait for silent clouds only are excused: until these speak again, plus the grace, or for
        EXCUSED_AT_MOST.
        """
        minutes = work.minutes(now - LISTENED)
        silent = {name: excused(minutes, now, evaluator.grace) for name, evaluator in self.evaluators.items()}
        due = [
            Due(name, opened_by=now - evaluator.patience, deferred_by=now if silent[name] else None)
            for name, evaluator in self.evaluators.items()
        ]
        transitions: list[Transition] = []
        for before in work.overdue_flows(due, limit=limit):
            evidence_set = self._deferred(before, silent[before.flow], now)
            evaluator = self.evaluators[before.flow]
            transitions.append(
                (before, record(evaluator, before.key, evidence_set, now=now, version=before.version + 1))
            )
        work.write_flows(sorted([after for _, after in transitions], key=_identity))
        return len(transitions), counted(transitions, differences(transitions), work)

    def _deferred(self, overdue: FlowRecord, silent: set[Source], now: datetime) -> EvidenceSet:
        """The evidence of an overdue story, with an excuse for what it lacks, or the end of one."""
        evaluator, evidence_set = self.evaluators[overdue.flow], overdue.evidence_set
        if silent and evaluator.awaited(evidence_set) <= silent:
            return replace(evidence_set, deferred_until=overdue.opened_at + evaluator.patience + MAX_DEFERRAL)
        return (
            replace(evidence_set, deferred_until=min(evidence_set.deferred_until, now))
            if evidence_set.deferred_until
            else evidence_set
        )

    def _evaluate(
        self, evidence_sets: Iterable[tuple[FlowKey, EvidenceSet]], kept: Mapping[FlowKey, FlowRecord]
    ) -> list[Transition]:
        transitions: list[Transition] = []
        for (flow, key), evidence_set in evidence_sets:
            before, evaluator = kept.get((flow, key)), self.evaluators[flow]
            if before is None:
                after = record(evaluator, key, evidence_set, now=BEFORE, version=1)
            else:
                every = add_up([before.evidence_set, evidence_set])
                after = record(evaluator, key, every, now=moment_of(before), version=before.version + 1)
            transitions.append((before, after))
        return transitions


def parted(rows: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    """What to write first, and what while it is being written; of few rows the first part is empty."""
    half = len(rows) // 2 if len(rows) >= WORTH_TWO_STATEMENTS else 0
    return rows[:half], rows[half:]


def counted(transitions: Sequence[Transition], counts: Sequence[FlowCount], work: UnitOfWork) -> FlowChanges:
    """Bring the sums up to date by what the judged stories add to them, and tell what has changed."""
    if counts:
        work.count_flows(counts)
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
