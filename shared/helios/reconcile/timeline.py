"""One story told from its beginning to its verdict."""

from collections.abc import Iterator
from typing import Literal

from helios.reconcile.record import FlowRecord, told
from helios.reconcile.rows import FlowRow, Step
from helios.reconcile.verdict import Judge

Told = Literal["leg", "duplicate", "contradictory"]
_WORDS: dict[Told, str] = {
    "leg": "tells of it",
    "duplicate": "tells the same again",
    "contradictory": "tells something else",
}


def timeline(judge: Judge, kept: FlowRecord) -> list[Step]:
    """What happened when, by Helios' clock."""
    row = told(judge, kept)
    return sorted([*_evidence(kept), *_marks(row)], key=lambda step: step.at)


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


def _marks(row: FlowRow) -> Iterator[Step]:
    missing = [leg.name for leg in row.legs if leg.state == "missing"]
    if missing:
        yield Step(at=row.deadline, what="deadline", detail=f"nobody waits for {', '.join(missing)} any longer")
    if row.settled_at:
        yield Step(at=row.settled_at, what="settled", detail=row.status.replace("_", " "))
