"""A story as it is kept: its evidence, and what of its verdict is searched for and summed up."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal, cast

import msgspec

from helios.model.flows import PROBLEMS, FlowInstance, FlowStatus, IssueKind
from helios.reconciliation.evaluate import AFTER, BEFORE, FlowEvaluator
from helios.reconciliation.evidence import EvidenceSet

FlowKey = tuple[str, str]
"""A story's identity, ``(flow, key)``."""

MATCH_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds of the histogram of times to match."""

MATCH_BOUNDS = (*(f"{bound:g}" for bound in MATCH_SECONDS), "inf")
"""The same as text, and what lies beyond."""

SLOT = timedelta(minutes=10)
"""The sums are kept for stretches of this length too, so that a long period is read from few rows."""


def slot_of(at: datetime) -> datetime:
    """The beginning of the slot in which a moment lies; slots begin at full hours."""
    return at.replace(minute=at.minute // 10 * 10, second=0, microsecond=0)


class FlowRecord(msgspec.Struct, frozen=True, gc=False):
    """A story in the store; the words are those of ``FlowInstance``.

    Attributes:
        waiting: whether the deadline will still change something.
        clouds: how many clouds have told of it.
        issues: the kinds of what is wrong.
        version: how often it has been written: who writes a story again must have read the version before.
        evidence_set: all evidence: the verdict can always be told again from it.
    """

    flow: str
    key: str
    status: FlowStatus
    amount: Decimal | None
    currency: str | None
    opened_at: datetime
    match_seconds: float | None
    waiting: bool
    clouds: int
    issues: list[IssueKind]
    version: int
    evidence_set: EvidenceSet

    @property
    def identity(self) -> FlowKey:
        """What makes it this story."""
        return (self.flow, self.key)


class FlowCount(msgspec.Struct, frozen=True, gc=False):
    """How many stories that began in a minute have something in common; kept as sums, so that nobody counts stories.

    Attributes:
        minute: of ``opened_at``, UTC.
        flow: the flow's name.
        what: ``status``: a verdict. ``issue``: a kind of issue. ``clouds``: so many clouds have spoken. ``match``: it
            matched within so many seconds, one of MATCH_BOUNDS. ``risk``: problems, by currency.
        value: which; empty for a currency that is not known.
        instances: how many.
        amount: their amounts together; only of ``risk``, and of ``status`` in what was summed up before currencies
            were told apart.
        seconds: their times to match together; only of ``match``.
    """

    minute: datetime
    flow: str
    what: Literal["status", "issue", "clouds", "match", "risk"]
    value: str
    instances: int
    amount: Decimal = Decimal(0)
    seconds: float = 0.0


class FlowSums(msgspec.Struct, frozen=True, kw_only=True):
    """The sums of a period, and what ties them to the stream, all of one moment.

    Attributes:
        position: of the stream.
        counts: the sums, in buckets.
        untold: how many more or fewer stories of each verdict only frames without a position tell, of any period.
    """

    position: int
    counts: list[FlowCount]
    untold: dict[FlowStatus, int]


def record(evaluator: FlowEvaluator, key: str, evidence_set: EvidenceSet, *, now: datetime, version: int) -> FlowRecord:
    """The story that follows from the evidence; see ``Judge.verdict``."""
    verdict = evaluator.verdict(evidence_set, now=now)
    return FlowRecord(
        flow=evaluator.flow.name,
        key=key,
        status=verdict.status,
        amount=verdict.amount,
        currency=verdict.currency,
        opened_at=verdict.opened_at,
        match_seconds=verdict.match_seconds,
        waiting=verdict.waiting,
        clouds=len({item.source for item in evidence_set.items}),
        issues=list(dict.fromkeys([issue.kind for issue in verdict.issues])) if verdict.issues else [],
        version=version,
        evidence_set=evidence_set,
    )


def told(evaluator: FlowEvaluator, kept: FlowRecord) -> FlowInstance:
    """The story as it was judged when it was kept: whether its deadline had passed is part of it."""
    return evaluator.row(kept.key, kept.evidence_set, now=moment_of(kept))


def moment_of(kept: FlowRecord) -> datetime:
    """When a story is judged that has not been swept since: what was found missing in vain is not waited for again."""
    return BEFORE if kept.waiting else AFTER


_Likeness = tuple[datetime, str, FlowStatus, int, tuple[IssueKind, ...], str | None, str | None]
"""What stories have in common that count alike: when they began, flow, verdict, clouds, issues, time to match, and
the currency of a problem."""


def differences(changes: Iterable[tuple[FlowRecord | None, FlowRecord]]) -> list[FlowCount]:
    """What to add to the sums for stories that were one thing and are another, sorted."""
    # Likenesses first: the stories of a batch share a few, and a minute is dear to find.
    instances: dict[_Likeness, int] = defaultdict(int)
    amounts: dict[_Likeness, Decimal] = defaultdict(Decimal)
    seconds: dict[_Likeness, float] = defaultdict(float)
    for before, after in changes:
        for kept, sign in ((before, -1), (after, 1)):
            if kept is None:
                continue
            likeness = _likeness(kept)
            instances[likeness] += sign
            if kept.status in PROBLEMS and kept.amount is not None:
                amounts[likeness] += sign * kept.amount
            if kept.match_seconds is not None:
                seconds[likeness] += sign * kept.match_seconds
    sums: dict[tuple[datetime, str, str, str], FlowCount] = {}
    for likeness, number in instances.items():
        for count in _counts(likeness, number, amounts.get(likeness, Decimal(0)), seconds.get(likeness, 0.0)):
            add(sums, count)
    return [sums[slot] for slot in sorted(sums) if _is_something(sums[slot])]


def by_status(counts: Iterable[FlowCount]) -> dict[str, dict[FlowStatus, int]]:
    """By flow, how many more or fewer stories have each verdict; what stays the same is left out."""
    found: dict[str, dict[FlowStatus, int]] = defaultdict(dict)
    for count in counts:
        if count.what == "status":
            status = cast("FlowStatus", count.value)
            found[count.flow][status] = found[count.flow].get(status, 0) + count.instances
    exact = {flow: {status: number for status, number in by.items() if number} for flow, by in found.items()}
    return {flow: by for flow, by in exact.items() if by}


def add(sums: dict[tuple[datetime, str, str, str], FlowCount], given: FlowCount) -> None:
    """Add one count to sums that are kept by (minute, flow, what, value)."""
    slot = (given.minute, given.flow, given.what, given.value)
    if known := sums.get(slot):
        given = msgspec.structs.replace(
            given,
            instances=known.instances + given.instances,
            amount=known.amount + given.amount,
            seconds=known.seconds + given.seconds,
        )
    sums[slot] = given


def _likeness(kept: FlowRecord) -> _Likeness:
    match = None
    if kept.match_seconds is not None:
        match = MATCH_BOUNDS[bisect_left(MATCH_SECONDS, kept.match_seconds)]
    currency = (kept.currency or "") if kept.status in PROBLEMS else None
    return (kept.opened_at, kept.flow, kept.status, kept.clouds, tuple(kept.issues), match, currency)


def _counts(likeness: _Likeness, instances: int, amount: Decimal, seconds: float) -> Iterator[FlowCount]:
    opened_at, flow, status, clouds, issues, match, currency = likeness
    minute = opened_at.replace(second=0, microsecond=0)
    yield FlowCount(minute=minute, flow=flow, what="status", value=status, instances=instances)
    yield FlowCount(minute=minute, flow=flow, what="clouds", value=str(clouds), instances=instances)
    for kind in issues:
        yield FlowCount(minute=minute, flow=flow, what="issue", value=kind, instances=instances)
    if currency is not None:
        yield FlowCount(minute=minute, flow=flow, what="risk", value=currency, instances=instances, amount=amount)
    if match:
        yield FlowCount(minute=minute, flow=flow, what="match", value=match, instances=instances, seconds=seconds)


def _is_something(count: FlowCount) -> bool:
    return bool(count.instances or count.amount or count.seconds)
