"""The timeline of a flow instance: which event arrived when, and which verdict followed."""

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from msgspec.structs import replace

from helios.model.flows import Step
from helios.reconciliation.evaluate import FlowEvaluator
from helios.reconciliation.evidence import EvidenceSet, part_of
from helios.reconciliation.record import FlowRecord, moment_of

Arrival = Literal["leg", "duplicate", "contradictory"]
_WORDS: dict[Arrival, str] = {
    "leg": "sent an event",
    "duplicate": "sent a duplicate",
    "contradictory": "sent a contradictory event",
}


def timeline(evaluator: FlowEvaluator, record: FlowRecord) -> list[Step]:
    """What happened when, by Helios' clock. The last verdict is the current one."""
    return sorted([*_evidence(evaluator, record), *_verdicts(evaluator, record)], key=lambda step: step.at)


def _evidence(evaluator: FlowEvaluator, record: FlowRecord) -> Iterator[Step]:
    """A step per piece of evidence. Repeated deliveries of a piece have no time of their own."""
    yield Step(at=record.opened_at, what="opened", detail="the first event arrived")
    contents: dict[tuple[str, str], set[str]] = {}
    parts = evaluator.flow.parts
    for item in record.evidence_set.items:
        known = contents.setdefault((item.leg, part_of(item, parts.get(item.leg))), set())
        repeated = f", {item.deliveries} deliveries" if item.deliveries > 1 else ""
        what: Arrival = "leg" if not known else "duplicate" if item.content in known else "contradictory"
        known.add(item.content)
        yield Step(
            at=item.received_at,
            what=what,
            leg=item.leg,
            source=item.source,
            event_id=item.id,
            producer=item.producer,
            detail=f"{item.leg}: {evaluator.sources.label(item.source)} {_WORDS[what]}{repeated}",
        )


def _verdicts(evaluator: FlowEvaluator, record: FlowRecord) -> Iterator[Step]:
    """A step per moment at which the evidence up to then gave another verdict than before."""
    deadline = evaluator.verdict(record.evidence_set, now=moment_of(record)).deadline
    moments = {item.received_at for item in record.evidence_set.items}
    version, before = 0, None
    for at in sorted(moments if record.waiting else moments | {deadline}):
        evidence_set = _until(at, record.evidence_set)
        verdict = evaluator.verdict(evidence_set, now=moment_of(record) if record.waiting else at)
        missing = [issue.legs[0] for issue in verdict.issues if issue.kind == "missing"]
        if at == deadline and missing:
            yield Step(at=at, what="deadline", detail=f"deadline passed without {', '.join(missing)}")
        what = (verdict.status, [(issue.kind, issue.legs, issue.field) for issue in verdict.issues])
        if what != before:
            version, before = version + 1, what
            detail = "; ".join([verdict.status.replace("_", " "), *(issue.detail for issue in verdict.issues)])
            yield Step(at=at, what="verdict", version=version, status=verdict.status, detail=detail)


def _until(at: datetime, evidence_set: EvidenceSet) -> EvidenceSet:
    items = [item for item in evidence_set.items if item.received_at <= at]
    # Overflowing deliveries have no time of their own either: they belong to the last verdict.
    return evidence_set if len(items) == len(evidence_set.items) else replace(evidence_set, items=items, overflow={})
