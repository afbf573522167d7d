"""One story told from its beginning: who spoke when, and which verdict followed from that."""

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from msgspec.structs import replace

from helios.model.flows import Step
from helios.reconciliation.evaluate import Judge
from helios.reconciliation.evidence import Ledger
from helios.reconciliation.record import FlowRecord, moment_of

Told = Literal["leg", "duplicate", "contradictory"]
_WORDS: dict[Told, str] = {
    "leg": "tells of it",
    "duplicate": "tells the same again",
    "contradictory": "tells something else",
}


def timeline(judge: Judge, kept: FlowRecord) -> list[Step]:
    """What happened when, by Helios' clock; the last verdict is the one that stands."""
    return sorted([*_evidence(kept), *_verdicts(judge, kept)], key=lambda step: step.at)


def _evidence(kept: FlowRecord) -> Iterator[Step]:
    """Each piece by what it added; that one was delivered again has no instant of its own."""
    yield Step(at=kept.opened_at, what="opened", detail="the first leg arrived")
    contents: dict[str, set[str]] = {}
    for piece in kept.ledger.pieces:
        known = contents.setdefault(piece.leg, set())
        again = f", {piece.deliveries} deliveries" if piece.deliveries > 1 else ""
        what: Told = "leg" if not known else "duplicate" if piece.content in known else "contradictory"
        known.add(piece.content)
        yield Step(
            at=piece.received_at,
            what=what,
            leg=piece.leg,
            source=piece.source,
            event_id=piece.id,
            detail=f"{piece.leg}: {piece.source} {_WORDS[what]}{again}",
        )


def _verdicts(judge: Judge, kept: FlowRecord) -> Iterator[Step]:
    """What followed from the evidence up to each moment, whenever it was something else than before."""
    deadline = judge.verdict(kept.ledger, now=moment_of(kept)).deadline
    moments = {piece.received_at for piece in kept.ledger.pieces}
    version, before = 0, None
    for at in sorted(moments if kept.waiting else moments | {deadline}):
        ledger = _until(at, kept.ledger)
        verdict = judge.verdict(ledger, now=moment_of(kept) if kept.waiting else at)
        missing = [issue.legs[0] for issue in verdict.issues if issue.kind == "missing"]
        if at == deadline and missing:
            yield Step(at=at, what="deadline", detail=f"nobody waits for {', '.join(missing)} any longer")
        what = (verdict.status, [(issue.kind, issue.legs, issue.field) for issue in verdict.issues])
        if what != before:
            version, before = version + 1, what
            detail = "; ".join([verdict.status.replace("_", " "), *(issue.detail for issue in verdict.issues)])
            yield Step(at=at, what="verdict", version=version, status=verdict.status, detail=detail)


def _until(at: datetime, ledger: Ledger) -> Ledger:
    pieces = [piece for piece in ledger.pieces if piece.received_at <= at]
    # What only counts has no instant either: it is part of the last verdict.
    return ledger if len(pieces) == len(ledger.pieces) else replace(ledger, pieces=pieces, others={})
