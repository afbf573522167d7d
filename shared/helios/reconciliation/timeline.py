"""One story told from its beginning: who spoke when, and which verdict followed from that."""

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from msgspec.structs import replace

from helios.model.flows import Step
from helios.reconciliation.evaluate import FlowEvaluator
from helios.reconciliation.evidence import EvidenceSet
from helios.reconciliation.record import FlowRecord, moment_of

Told = Literal["leg", "duplicate", "contradictory"]
_WORDS: dict[Told, str] = {
    "leg": "tells of it",
    "duplicate": "tells the same again",
    "contradictory": "tells something else",
}


def timeline(evaluator: FlowEvaluator, kept: FlowRecord) -> list[Step]:
    """What happened when, by Helios' clock; the last verdict is the one that stands."""
    return sorted([*_evidence(kept), *_verdicts(evaluator, kept)], key=lambda step: step.at)


def _evidence(kept: FlowRecord) -> Iterator[Step]:
    """Each piece by what it added; that one was delivered again has no instant of its own."""
    yield Step(at=kept.opened_at, what="opened", detail="the first leg arrived")
    contents: dict[str, set[str]] = {}
    for item in kept.evidence_set.items:
        known = contents.setdefault(item.leg, set())
        again = f", {item.deliveries} deliveries" if item.deliveries > 1 else ""
        what: Told = "leg" if not known else "duplicate" if item.content in known else "contradictory"
        known.add(item.content)
        yield Step(
            at=item.received_at,
            what=what,
            leg=item.leg,
            source=item.source,
            event_id=item.id,
            detail=f"{item.leg}: {item.source} {_WORDS[what]}{again}",
        )


def _verdicts(evaluator: FlowEvaluator, kept: FlowRecord) -> Iterator[Step]:
    """What followed from the evidence up to each moment, whenever it was something else than before."""
    deadline = evaluator.verdict(kept.evidence_set, now=moment_of(kept)).deadline
    moments = {item.received_at for item in kept.evidence_set.items}
    version, before = 0, None
    for at in sorted(moments if kept.waiting else moments | {deadline}):
        evidence_set = _until(at, kept.evidence_set)
        verdict = evaluator.verdict(evidence_set, now=moment_of(kept) if kept.waiting else at)
        missing = [issue.legs[0] for issue in verdict.issues if issue.kind == "missing"]
        if at == deadline and missing:
            yield Step(at=at, what="deadline", detail=f"nobody waits for {', '.join(missing)} any longer")
        what = (verdict.status, [(issue.kind, issue.legs, issue.field) for issue in verdict.issues])
        if what != before:
            version, before = version + 1, what
            detail = "; ".join([verdict.status.replace("_", " "), *(issue.detail for issue in verdict.issues)])
            yield Step(at=at, what="verdict", version=version, status=verdict.status, detail=detail)


def _until(at: datetime, evidence_set: EvidenceSet) -> EvidenceSet:
    items = [item for item in evidence_set.items if item.received_at <= at]
    # What only counts has no instant either: it is part of the last verdict.
    return evidence_set if len(items) == len(evidence_set.items) else replace(evidence_set, items=items, overflow={})
