"""A flow instance as it is stored: its evidence, and the parts of its verdict that are searched and summed."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal, cast

import msgspec

from helios.model.flows import HARMLESS, PROBLEMS, FlowInstance, FlowStatus, IssueKind
from helios.model.incidents import Cause, flow_cause
from helios.reconciliation.evaluate import AFTER, BEFORE, FlowEvaluator, Verdict
from helios.reconciliation.evidence import EvidenceSet

FlowKey = tuple[str, str]
"""The identity of a flow instance, ``(flow, key)``."""

MATCH_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds of the histogram of times to match."""

MATCH_BOUNDS = (*(f"{bound:g}" for bound in MATCH_SECONDS), "inf")
"""The same bounds as text, and ``inf``."""

SLOT = timedelta(minutes=10)
"""The sums are stored per slot too, so that a long period is read from few rows."""


def slot_of(at: datetime) -> datetime:
    """The beginning of the slot that contains a moment; a slot begins at every full hour."""
    return at.replace(minute=at.minute // 10 * 10, second=0, microsecond=0)


class FlowRecord(msgspec.Struct, frozen=True, gc=False):
    """A stored flow instance. Attributes that are not listed mean what they mean in ``FlowInstance``.

    Attributes:
        waiting: whether the deadline can still change the verdict.
        clouds: the number of clouds that have sent an event of it.
        issues: the kinds of its issues.
        version: how often it has been written. A writer must have read the version before.
        evidence_set: all evidence, from which the verdict can be derived again at any time.
        causes: the keys of the causes of its verdict, if it is a problem or waits for a silent source; by these it
            belongs to incidents.
        resolved: whether a person has accepted it or written it off as it is. It then belongs to no incident. With
            later evidence or another verdict it is no longer resolved.
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
    causes: tuple[str, ...] = ()
    resolved: bool = False

    @property
    def identity(self) -> FlowKey:
        """The identity of the instance."""
        return (self.flow, self.key)


class FlowCount(msgspec.Struct, frozen=True, gc=False):
    """The number of instances that opened in a minute and share a property; stored, so that no query counts instances.

    Attributes:
        minute: the minute of ``opened_at``, UTC.
        flow: the name of the flow; empty for the cause of dead letters.
        what: the property. ``status``: the verdict. ``issue``: a kind of issue. ``clouds``: the number of clouds that
            have sent an event. ``match``: the time to match, as one of MATCH_BOUNDS. ``risk``: the currency of a
            mismatched or incomplete instance. ``cause``: a cause and a currency, see ``cause_value``. Incidents are
            made of these counts; no query of a period reads them.
        value: the value of the property; empty for an unknown currency.
        instances: the number of instances.
        amount: the sum of their amounts; only of ``risk`` and ``cause``, and of ``status`` in sums that are older than
            the distinction of currencies.
        seconds: the sum of their times to match; only of ``match``.
    """

    minute: datetime
    flow: str
    what: Literal["status", "issue", "clouds", "match", "risk", "cause"]
    value: str
    instances: int
    amount: Decimal = Decimal(0)
    seconds: float = 0.0


class FlowSums(msgspec.Struct, frozen=True, kw_only=True):
    """The sums of a period at a position of the stream.

    Attributes:
        position: the position of the stream.
        counts: the sums, in buckets.
    """

    position: int
    counts: list[FlowCount]


def record(evaluator: FlowEvaluator, key: str, evidence_set: EvidenceSet, *, now: datetime, version: int) -> FlowRecord:
    """The instance that follows from the evidence; see ``FlowEvaluator.verdict``."""
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
        causes=_causes(evaluator, verdict, evidence_set),
    )


def _causes(evaluator: FlowEvaluator, verdict: Verdict, evidence_set: EvidenceSet) -> tuple[str, ...]:
    if verdict.status in PROBLEMS:
        issues = [issue for issue in verdict.issues if issue.kind not in HARMLESS]
        return tuple(dict.fromkeys([flow_cause(evaluator.flow.name, issue).key for issue in issues]))
    if verdict.status == "open" and evidence_set.deferred_until:
        sources = sorted(source for source in evaluator.awaited_sources(evidence_set) if source)
        return tuple(Cause(kind="silence", source=source).key for source in sources)
    return ()


def resolutions_of(records: Iterable[FlowRecord], *, resolved: bool) -> list[tuple[FlowRecord, FlowRecord]]:
    """Each instance before and after a person resolves it, or reopens it; those that are so already are left out.

    The version rises, so that a batch that has read the instance before evaluates it again.
    """
    return [
        (before, msgspec.structs.replace(before, version=before.version + 1, resolved=resolved))
        for before in records
        if before.resolved != resolved
    ]


def without_waiting(stored: FlowRecord) -> FlowRecord:
    """The instance without what it waits for: the passing of its deadline changes that even if nothing else changes."""
    evidence_set = msgspec.structs.replace(stored.evidence_set, deferred_until=None)
    return msgspec.structs.replace(stored, waiting=False, evidence_set=evidence_set)


def cause_value(key: str, currency: str | None) -> str:
    """The ``value`` of a ``FlowCount`` of this cause and currency; ``parse_cause_value`` is its inverse."""
    return f"{currency or ''} {key}"


def parse_cause_value(value: str) -> tuple[str, str]:
    """The key and the currency in the ``value`` of a ``FlowCount`` of a cause; an unknown currency is empty."""
    currency, _, key = value.partition(" ")
    return key, currency


def to_instance(evaluator: FlowEvaluator, stored: FlowRecord) -> FlowInstance:
    """The whole instance, with the verdict of its last evaluation: the record says whether its deadline had passed."""
    return evaluator.to_instance(stored.key, stored.evidence_set, now=moment_of(stored))


def moment_of(stored: FlowRecord) -> datetime:
    """The ``now`` with which to evaluate a stored instance: after its deadline only if the sweep has closed it.

    Thus Helios does not wait again for a leg that it has reported as missing.
    """
    return BEFORE if stored.waiting else AFTER


_Group = tuple[datetime, str, FlowStatus, int, tuple[IssueKind, ...], str | None, str | None, tuple[str, ...]]
"""The properties of instances that are counted alike: opening time, flow, verdict, clouds, issues, time to match, the
currency of an instance that is a problem or has a cause, and the causes."""


def differences(changes: Iterable[tuple[FlowRecord | None, FlowRecord]]) -> list[FlowCount]:
    """What changed instances add to the sums, sorted."""
    # By group first: the instances of a batch share a few groups, and finding the minute of one is slow.
    instances: dict[_Group, int] = defaultdict(int)
    amounts: dict[_Group, Decimal] = defaultdict(Decimal)
    seconds: dict[_Group, float] = defaultdict(float)
    for before, after in changes:
        for version, sign in ((before, -1), (after, 1)):
            if version is None:
                continue
            group = _group(version)
            instances[group] += sign
            if version.amount is not None and (version.status in PROBLEMS or version.causes):
                amounts[group] += sign * version.amount
            if version.match_seconds is not None:
                seconds[group] += sign * version.match_seconds
    sums: dict[tuple[datetime, str, str, str], FlowCount] = {}
    for group, number in instances.items():
        for count in _counts(group, number, amounts.get(group, Decimal(0)), seconds.get(group, 0.0)):
            add(sums, count)
    return [sums[slot] for slot in sorted(sums) if _is_nonzero(sums[slot])]


def by_status(counts: Iterable[FlowCount]) -> dict[str, dict[FlowStatus, int]]:
    """By flow, how many more or fewer instances have each verdict; verdicts without a change are left out."""
    totals: dict[str, dict[FlowStatus, int]] = defaultdict(dict)
    for count in counts:
        if count.what == "status":
            status = cast("FlowStatus", count.value)
            totals[count.flow][status] = totals[count.flow].get(status, 0) + count.instances
    nonzero = {flow: {status: number for status, number in by.items() if number} for flow, by in totals.items()}
    return {flow: by for flow, by in nonzero.items() if by}


def add(sums: dict[tuple[datetime, str, str, str], FlowCount], count: FlowCount) -> None:
    """Add one count to the sums, whose keys are (minute, flow, what, value)."""
    slot = (count.minute, count.flow, count.what, count.value)
    if known := sums.get(slot):
        count = msgspec.structs.replace(
            count,
            instances=known.instances + count.instances,
            amount=known.amount + count.amount,
            seconds=known.seconds + count.seconds,
        )
    sums[slot] = count


def _group(instance: FlowRecord) -> _Group:
    match = None
    if instance.match_seconds is not None:
        match = MATCH_BOUNDS[bisect_left(MATCH_SECONDS, instance.match_seconds)]
    issues, causes = tuple(instance.issues), () if instance.resolved else instance.causes
    currency = (instance.currency or "") if instance.status in PROBLEMS or causes else None
    return (instance.opened_at, instance.flow, instance.status, instance.clouds, issues, match, currency, causes)


def _counts(group: _Group, instances: int, amount: Decimal, seconds: float) -> Iterator[FlowCount]:
    opened_at, flow, status, clouds, issues, match, currency, causes = group
    minute = opened_at.replace(second=0, microsecond=0)
    yield FlowCount(minute=minute, flow=flow, what="status", value=status, instances=instances)
    yield FlowCount(minute=minute, flow=flow, what="clouds", value=str(clouds), instances=instances)
    for kind in issues:
        yield FlowCount(minute=minute, flow=flow, what="issue", value=kind, instances=instances)
    if currency is not None and status in PROBLEMS:
        yield FlowCount(minute=minute, flow=flow, what="risk", value=currency, instances=instances, amount=amount)
    for key in causes:
        value = cause_value(key, currency)
        yield FlowCount(minute=minute, flow=flow, what="cause", value=value, instances=instances, amount=amount)
    if match:
        yield FlowCount(minute=minute, flow=flow, what="match", value=match, instances=instances, seconds=seconds)


def _is_nonzero(count: FlowCount) -> bool:
    return bool(count.instances or count.amount or count.seconds)
