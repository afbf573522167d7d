"""A story as it is kept: its evidence, and what of its verdict is searched for and summed up."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Literal

import msgspec

from helios.reconcile.declaration import Flow
from helios.reconcile.evidence import Ledger
from helios.reconcile.rows import PROBLEMS, FlowRow, FlowStatus, IssueKind
from helios.reconcile.verdict import is_waiting, judge

FlowKey = tuple[str, str]
"""A story's identity, ``(flow, key)``."""

MATCH_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds of the histogram of times to match."""


class FlowRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A story in the store; the words are those of ``FlowRow``.

    Attributes:
        waiting: whether the deadline will still change something.
        clouds: how many clouds have told of it.
        issues: the kinds of what is wrong.
        ledger: all evidence: the verdict can always be told again from it.
    """

    flow: str
    key: str
    status: FlowStatus
    amount: Decimal | None
    opened_at: datetime
    deadline: datetime
    settled_at: datetime | None
    updated_at: datetime
    match_seconds: float | None
    waiting: bool
    clouds: int
    issues: list[IssueKind]
    ledger: Ledger

    @property
    def identity(self) -> FlowKey:
        """What makes it this story."""
        return (self.flow, self.key)


class FlowCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many stories that began in a minute have something in common; kept as sums, so that nobody counts stories.

    Attributes:
        minute: of ``opened_at``, UTC.
        flow: the flow's name.
        what: ``status``: a verdict. ``issue``: a kind of issue. ``clouds``: so many clouds have spoken. ``match``: it
            matched within so many seconds, one of MATCH_SECONDS or ``inf``.
        value: which.
        stories: how many.
        amount: their amounts together; only of problems.
        seconds: their times to match together; only of ``match``.
    """

    minute: datetime
    flow: str
    what: Literal["status", "issue", "clouds", "match"]
    value: str
    stories: int
    amount: Decimal = Decimal(0)
    seconds: float = 0.0


def record(flow: Flow, key: str, ledger: Ledger, *, now: datetime) -> FlowRecord:
    """The story that follows from the evidence; see ``judge``."""
    row = judge(flow, key, ledger, now=now)
    return FlowRecord(
        flow=row.flow,
        key=row.key,
        status=row.status,
        amount=row.amount,
        opened_at=row.opened_at,
        deadline=row.deadline,
        settled_at=row.settled_at,
        updated_at=row.updated_at,
        match_seconds=row.time_to_match_seconds,
        waiting=is_waiting(row),
        clouds=len({piece.source for piece in ledger.pieces}),
        issues=list(dict.fromkeys(issue.kind for issue in row.issues)),
        ledger=ledger,
    )


def told(flow: Flow, kept: FlowRecord) -> FlowRow:
    """The story as it was judged when it was kept: whether its deadline had passed is part of it."""
    return judge(flow, kept.key, kept.ledger, now=kept.opened_at if kept.waiting else kept.deadline)


def differences(changes: Iterable[tuple[FlowRecord | None, FlowRecord]]) -> list[FlowCount]:
    """What to add to the sums for stories that were one thing and are another, sorted."""
    stories: Counter[tuple[datetime, str, str, str]] = Counter()
    amounts: dict[tuple[datetime, str, str, str], Decimal] = {}
    seconds: Counter[tuple[datetime, str, str, str]] = Counter()
    for before, after in changes:
        for kept, sign in ((before, -1), (after, 1)):
            if kept is None:
                continue
            for what, value in _facts(kept):
                slot = (kept.opened_at.replace(second=0, microsecond=0), kept.flow, what, value)
                stories[slot] += sign
                if what == "status" and value in PROBLEMS and kept.amount is not None:
                    amounts[slot] = amounts.get(slot, Decimal(0)) + sign * kept.amount
                if what == "match" and kept.match_seconds is not None:
                    seconds[slot] += sign * kept.match_seconds  # type: ignore[assignment]  # a Counter adds floats, too
    return [
        FlowCount(
            minute=slot[0],
            flow=slot[1],
            what=slot[2],  # type: ignore[arg-type]  # as _facts names them
            value=slot[3],
            stories=stories[slot],
            amount=amounts.get(slot, Decimal(0)),
            seconds=seconds[slot],
        )
        for slot in sorted(stories)
        if stories[slot] or amounts.get(slot) or seconds[slot]
    ]


def _facts(kept: FlowRecord) -> list[tuple[str, str]]:
    facts = [("status", kept.status), ("clouds", str(kept.clouds)), *(("issue", kind) for kind in kept.issues)]
    if kept.match_seconds is not None:
        bound = next((bound for bound in MATCH_SECONDS if kept.match_seconds <= bound), None)
        facts.append(("match", "inf" if bound is None else f"{bound:g}"))
    return facts
