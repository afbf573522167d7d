"""The fold from evidence to records: what every engine runs, whether Postgres or a stream processor holds the records.

It is pure. The order in which evidence arrives, and how it is divided into batches, change no final record::

    event ──extract──► evidence ──add──► record        (any number of times)
                                 expire ──► record     (once its deadline has passed)
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from helios.model.counts import MinuteCount
from helios.model.events import Event
from helios.model.flows import FlowStatus
from helios.model.sources import Source
from helios.model.stream import MAX_FRAME_FLOWS, FlowChange
from helios.reconciliation.declaration import Flow
from helios.reconciliation.evaluate import BEFORE, FlowEvaluator
from helios.reconciliation.evidence import EvidenceExtractor, EvidenceSet
from helios.reconciliation.record import (
    FlowCount,
    FlowKey,
    FlowRecord,
    by_status,
    moment_of,
    record,
    without_waiting,
)
from helios.reconciliation.silence import deferring_sources
from helios.sources.registry import CLOUDS, Sources

MAX_DEFERRAL = timedelta(hours=1)
"""How long after its deadline an instance is evaluated although a cloud is still silent."""

Transition = tuple[FlowRecord | None, FlowRecord]
"""An instance before and after."""


class FlowChanges(NamedTuple):
    """What a batch or a sweep changed, as its frame reports it.

    Attributes:
        flows: the last instances whose verdict or issues changed, at most MAX_FRAME_FLOWS.
        statuses: by flow, how many more or fewer instances have each verdict than before; exact.
        counts: what is added to the sums of instances.
    """

    flows: list[FlowChange]
    statuses: dict[str, dict[FlowStatus, int]]
    counts: Sequence[FlowCount]


class Fold:
    """Folds the evidence of the declared flows into records.

    Attributes:
        evaluators: the evaluators by the name of their flow.
        sources: the sources that legs may name.
    """

    def __init__(self, flows: Sequence[Flow], sources: Sources = CLOUDS) -> None:
        self.evaluators = {flow.name: FlowEvaluator(flow, sources) for flow in flows}
        self.sources = sources
        self._extractor = EvidenceExtractor(flows, sources)

    def evidence(self, events: Sequence[Event]) -> dict[FlowKey, EvidenceSet]:
        """The evidence in a batch by instance, sorted: writers that lock instances in one order do not deadlock."""
        evidence_sets: dict[FlowKey, list[EvidenceSet]] = defaultdict(list)
        self.extract(events, evidence_sets)
        return self.merged(evidence_sets)

    def extract(self, events: Sequence[Event], evidence_sets: dict[FlowKey, list[EvidenceSet]]) -> set[FlowKey]:
        """Add the evidence in these events to that of their instances, and return the identities of these."""
        keys = set()
        for event in events:
            for flow, key, evidence in self._extractor.extract(event):
                identity = (flow.name, key)
                keys.add(identity)
                evidence_sets[identity].append(EvidenceSet(items=[evidence]))
        return keys

    def instances_of(self, event: Event) -> list[FlowKey]:
        """The identities of the instances to which an event belongs."""
        return [(flow.name, key) for flow, key, _ in self._extractor.extract(event)]

    def merged(self, evidence_sets: Mapping[FlowKey, Sequence[EvidenceSet]]) -> dict[FlowKey, EvidenceSet]:
        """One set of evidence for each instance, sorted."""
        return {key: self.evaluators[key[0]].merge(evidence_sets[key]) for key in sorted(evidence_sets)}

    def transitions(
        self, evidence_sets: Iterable[tuple[FlowKey, EvidenceSet]], records: Mapping[FlowKey, FlowRecord]
    ) -> list[Transition]:
        """Each instance before and after its evidence is added; an instance without a record is new."""
        transitions: list[Transition] = []
        for identity, evidence_set in evidence_sets:
            before = records.get(identity)
            transitions.append((before, self.add(before, identity, evidence_set)))
        return transitions

    def add(self, before: FlowRecord | None, identity: FlowKey, evidence_set: EvidenceSet) -> FlowRecord:
        """The record with more evidence.

        A deadline that has not been acted on is not acted on here: ``expire`` does, since it knows which sources are
        silent.
        """
        flow, key = identity
        evaluator = self.evaluators[flow]
        if before is None:
            return record(evaluator, key, evidence_set, now=BEFORE, version=1)
        merged = evaluator.merge([before.evidence_set, evidence_set])
        return record(evaluator, key, merged, now=moment_of(before), version=before.version + 1)

    def reevaluate(
        self, before: FlowRecord | None, identity: FlowKey, evidence_set: EvidenceSet, *, now: datetime
    ) -> FlowRecord:
        """The record by other rules than those that have made it.

        If it waits, ``expire`` decides about its deadline.

        Args:
            before: the record; None: there is none.
            identity: the identity of the instance.
            evidence_set: all evidence by the rules of now.
            now: decides whether a verdict that followed from a deadline is still right.
        """
        flow, key = identity
        at = BEFORE if before is None or before.waiting else now
        version = before.version + 1 if before else 1
        return with_decision(before, record(self.evaluators[flow], key, evidence_set, now=at, version=version))

    def deadline(self, stored: FlowRecord) -> datetime:
        """From when on ``expire`` may change a waiting record, UTC, if no source is silent."""
        return stored.opened_at + self.evaluators[stored.flow].time_to_deadline

    def silent_sources(self, minutes: Sequence[MinuteCount], now: datetime) -> dict[str, set[Source]]:
        """By flow, the sources whose legs are not missing yet, because the source is silent or was a moment ago.

        Args:
            minutes: the counts from ``now - LOOKBACK`` on, or earlier.
            now: the moment in question.
        """
        return {name: deferring_sources(minutes, now, evaluator.grace) for name, evaluator in self.evaluators.items()}

    def expire(self, before: FlowRecord, *, now: datetime, silent: set[Source]) -> FlowRecord:
        """The record after its deadline: final, or deferred while it waits for silent sources only.

        Args:
            before: a waiting record whose ``deadline`` is not after ``now``.
            now: the moment in question.
            silent: the ``silent_sources`` of its flow. A record that is deferred is final as soon as they send again,
                plus the grace period, and MAX_DEFERRAL after its deadline at the latest.
        """
        evaluator = self.evaluators[before.flow]
        evidence_set = self._deferred(before, silent, now)
        return with_decision(before, record(evaluator, before.key, evidence_set, now=now, version=before.version + 1))

    def _deferred(self, overdue: FlowRecord, silent: set[Source], now: datetime) -> EvidenceSet:
        """The evidence of an overdue instance, its deadline deferred while it waits for silent clouds only."""
        evaluator, evidence_set = self.evaluators[overdue.flow], overdue.evidence_set
        if silent and (awaited := evaluator.awaited_sources(evidence_set)) and awaited <= silent:
            return replace(evidence_set, deferred_until=overdue.opened_at + evaluator.time_to_deadline + MAX_DEFERRAL)
        if evidence_set.deferred_until:
            return replace(evidence_set, deferred_until=min(evidence_set.deferred_until, now))
        return evidence_set


def changes_of(transitions: Sequence[Transition], counts: Sequence[FlowCount]) -> FlowChanges:
    """The changes for the frame; ``counts`` are the ``differences`` of the transitions."""
    changed = (
        _change(before, after)
        for before, after in reversed(transitions)
        if before is None or before.status != after.status or before.issues != after.issues
    )
    return FlowChanges([*islice(changed, MAX_FRAME_FLOWS)][::-1], by_status(counts), counts)


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


def is_same_record(before: FlowRecord | None, after: FlowRecord) -> bool:
    """Whether two records differ in nothing but their versions, and in what a person has decided."""
    return before is not None and replace(before, version=after.version, resolved=after.resolved) == after


def with_decision(before: FlowRecord | None, after: FlowRecord) -> FlowRecord:
    """The later record, with what a person has decided about the earlier one if it still holds.

    It holds if nothing has changed but how long the instance waits: no evidence was added, and the verdict is the same.
    """
    is_kept = before is not None and before.resolved and is_same_record(without_waiting(before), without_waiting(after))
    return replace(after, resolved=is_kept)


encode_record = msgspec.json.Encoder().encode
"""A record as JSON."""

decode_record = msgspec.json.Decoder(FlowRecord).decode
"""A record from its JSON. Fields that this release does not know are ignored, and those that an older release did not
write have their defaults. Raises msgspec.MsgspecError for anything else."""
