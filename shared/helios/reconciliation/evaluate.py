"""What follows from the evidence: a pure function of it, of the declaration, and of whether the deadline has passed."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

import msgspec

from helios.model.events import Source
from helios.model.flows import FlowInstance, FlowIssue, FlowLeg, FlowStatus, LegState
from helios.reconciliation.declaration import Flow, Leg, side
from helios.reconciliation.evidence import Evidence, EvidenceSet, as_number

BEFORE, AFTER = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
"""Moments before and after any deadline."""

MAX_CURRENCY_CHARS = 8
"""What is longer names no currency; sums are kept, and metrics labelled, by what does."""

_CALLED: dict[Source | None, str] = {"aws": "AWS", "gcp": "GCP", "azure": "Azure", None: "any cloud"}


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What is decided; the words are those of ``FlowInstance``.

    Attributes:
        complete_at: when the last leg came of those that have come and are not optional.
        waiting: whether the deadline will still change something.
    """

    status: FlowStatus
    amount: Decimal | None
    currency: str | None
    opened_at: datetime
    deadline: datetime
    complete_at: datetime
    waiting: bool
    issues: list[FlowIssue]

    @property
    def match_seconds(self) -> float | None:
        """From the first leg to the last; None unless it matched."""
        if self.status in {"matched", "matched_late"}:
            return (self.complete_at - self.opened_at).total_seconds()
        return None

    @property
    def settled_at(self) -> datetime | None:
        """Since when it has stood; None while the story is open."""
        if self.status == "open":
            return None
        return self.deadline if self.status == "incomplete" else self.complete_at


class _Compared(NamedTuple):
    """A rule, taken apart."""

    one: Leg
    one_path: str
    other: Leg
    other_path: str
    tolerance: Decimal


class FlowEvaluator:
    """Judges the stories of one flow; what the declaration says is looked up once.

    Attributes:
        flow: what was declared.
        patience: how long after its first leg a story's deadline is, unless it is excused.
        grace: the part of it that follows the window.
    """

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self._window = timedelta(seconds=flow.window_seconds)
        self.grace = timedelta(seconds=flow.grace_seconds)
        self.patience = self._window + self.grace
        legs = {leg.name: leg for leg in flow.leg}
        self._rules = [
            _Compared(legs[one], one_path, legs[other], other_path, rule.tolerance)
            for rule in flow.rule
            for (one, one_path), (other, other_path) in [rule.sides]
        ]
        self._amounts = [side(text) for text in flow.amount]
        self._currencies = [side(text) for text in flow.currency]

    def verdict(self, evidence_set: EvidenceSet, *, now: datetime) -> Verdict:
        """The verdict on a story of which there is at least one piece of evidence.

        Only ``received_at`` decides what is late: the clouds' clocks may be wrong.

        Args:
            evidence_set: all evidence of it.
            now: decides whether the deadline has passed, where a leg is waited for.
        """
        told = by_leg(evidence_set)
        opened_at = min([item.received_at for item in evidence_set.items])
        in_time, deadline = opened_at + self._window, opened_at + self.patience
        if evidence_set.deferred_until:
            deadline = max(deadline, evidence_set.deferred_until)
        issues: list[FlowIssue] = []
        waiting = missing = late = False
        complete_at = opened_at
        for leg in self.flow.leg:
            items = told.get(leg.name)
            if items is None:
                if not leg.optional:
                    if now >= deadline:
                        missing = True
                        issues.append(_missing(leg))
                    else:
                        waiting = True
                continue
            first = items[0]
            if first.received_at > in_time:
                late |= not leg.optional
                issues.append(_late(leg, first, in_time))
            if first.received_at > complete_at and not leg.optional:
                complete_at = first.received_at
            if len(items) > 1 or first.deliveries > 1 or leg.name in evidence_set.overflow:
                issues += _repeated(leg, items, evidence_set.deliveries(leg.name))
        if broken := list(self._broken(told)):
            issues = broken + issues  # what decides comes first
        status: FlowStatus = (
            "mismatched"
            if broken
            else "incomplete"
            if missing
            else "open"
            if waiting
            else "matched_late"
            if late
            else "matched"
        )
        return Verdict(
            status=status,
            amount=self._amount(told),
            currency=self._currency(told),
            opened_at=opened_at,
            deadline=deadline,
            complete_at=complete_at,
            waiting=waiting,
            issues=issues,
        )

    def row(self, key: str, evidence_set: EvidenceSet, *, now: datetime) -> FlowInstance:
        """The story in full: the verdict, and what is known of each leg."""
        verdict = self.verdict(evidence_set, now=now)
        told = by_leg(evidence_set)
        in_time, overdue = verdict.opened_at + self._window, now >= verdict.deadline
        legs = [
            _leg(leg, told.get(leg.name, []), evidence_set.deliveries(leg.name), in_time=in_time, overdue=overdue)
            for leg in self.flow.leg
        ]
        return FlowInstance(
            flow=self.flow.name,
            key=key,
            status=verdict.status,
            amount=verdict.amount,
            currency=verdict.currency,
            opened_at=verdict.opened_at,
            deadline=verdict.deadline,
            settled_at=verdict.settled_at,
            updated_at=max([item.received_at for item in evidence_set.items]),
            time_to_match_seconds=verdict.match_seconds,
            legs=legs,
            issues=verdict.issues,
        )

    def awaited(self, evidence_set: EvidenceSet) -> set[Source | None]:
        """Who has not told of a leg that is not optional; None: a leg of which any cloud may tell."""
        told = by_leg(evidence_set)
        return {leg.source for leg in self.flow.required if leg.name not in told}

    def _broken(self, told: Mapping[str, list[Evidence]]) -> Iterator[FlowIssue]:
        """The rules that are broken."""
        for rule in self._rules:
            one, other = told.get(rule.one.name), told.get(rule.other.name)
            if one and other and (issue := _broken(rule, one, other)):
                yield issue

    def _amount(self, told: Mapping[str, list[Evidence]]) -> Decimal | None:
        for text in _said_of(self._amounts, told):
            if (number := as_number(text)) is not None:
                return number
        return None

    def _currency(self, told: Mapping[str, list[Evidence]]) -> str | None:
        for text in _said_of(self._currencies, told):
            if len(text) <= MAX_CURRENCY_CHARS:
                return text
        return None


def by_leg(evidence_set: EvidenceSet) -> dict[str, list[Evidence]]:
    """The evidence of each leg, first arrival first."""
    told = {item.leg: [item] for item in evidence_set.items}
    if len(told) < len(evidence_set.items):
        told = {leg: evidence_set.of(leg) for leg in told}
    return told


def _said_of(sides: list[tuple[str, str]], told: Mapping[str, list[Evidence]]) -> Iterator[str]:
    """What the legs say at these paths, in their order."""
    for leg, path in sides:
        for item in told.get(leg, ()):
            if text := item.fields.get(path):
                yield text


def _leg(leg: Leg, items: list[Evidence], deliveries: int, *, in_time: datetime, overdue: bool) -> FlowLeg:
    first = items[0] if items else None
    state: LegState
    if first:
        state = "present" if first.received_at <= in_time else "late"
    else:
        state = "missing" if overdue and not leg.optional else "pending"
    return FlowLeg(
        name=leg.name,
        source=first.source if first else leg.source,
        type=leg.type,
        optional=leg.optional,
        state=state,
        event_id=first.id if first else None,
        time=first.time if first else None,
        received_at=first.received_at if first else None,
        fields=first.fields if first else {},
        deliveries=deliveries,
    )


def _missing(leg: Leg) -> FlowIssue:
    detail = f"{leg.name}: {leg.type} from {_CALLED[leg.source]} never came"
    return FlowIssue(kind="missing", legs=[leg.name], field=None, values={}, detail=detail)


def _late(leg: Leg, first: Evidence, in_time: datetime) -> FlowIssue:
    seconds = (first.received_at - in_time).total_seconds()
    detail = f"{leg.name}: {_CALLED[first.source]} spoke {seconds:.1f} s after the window"
    return FlowIssue(kind="late", legs=[leg.name], field=None, values={leg.name: f"{seconds:.3f}"}, detail=detail)


def _repeated(leg: Leg, items: list[Evidence], deliveries: int) -> Iterator[FlowIssue]:
    """A leg that was told of more than once: in the same words, in others, or both."""
    by_content: dict[str, Evidence] = {}
    for item in items:
        by_content.setdefault(item.content, item)
    variants = list(by_content.values())
    if deliveries > len(variants):
        yield FlowIssue(
            kind="duplicate",
            legs=[leg.name],
            field=None,
            values={leg.name: str(deliveries)},
            detail=f"{leg.name}: {_CALLED[items[0].source]} told of it {deliveries} times",
        )
    if len(variants) > 1:
        names = sorted({name for item in variants for name in item.fields})
        differing = [name for name in names if len({item.fields.get(name) for item in variants}) > 1]
        field = differing[0] if differing else None
        said = [item.fields.get(field, "not there") if field else item.id for item in variants]
        who = _CALLED[items[0].source]
        yield FlowIssue(
            kind="contradictory",
            legs=[leg.name],
            field=field,
            values={str(number): text for number, text in enumerate(said, start=1)},
            detail=f"{leg.name}: {who} contradicts itself: {field or 'content'} is {' and '.join(said)}",
        )


def _broken(rule: _Compared, one: list[Evidence], other: list[Evidence]) -> FlowIssue | None:
    """The rule, if any two variants of its legs break it."""
    for first in one:
        left = first.fields.get(rule.one_path)
        for second in other:
            right = second.fields.get(rule.other_path)
            if left != right and not _agree(left, right, rule.tolerance):
                return FlowIssue(
                    kind="mismatch",
                    legs=[rule.one.name, rule.other.name],
                    field=rule.one_path,
                    values={rule.one.name: left or "not there", rule.other.name: right or "not there"},
                    detail=f"{rule.one_path}: {_words(rule.one, first, left)}, {_words(rule.other, second, right)}",
                )
    return None


def _words(leg: Leg, item: Evidence, said: str | None) -> str:
    """What a leg says, as its declaration puts it: ``Azure reserved 2``."""
    who = _CALLED[item.source]
    return f"{who} {leg.verb} {said or 'nothing'}" if leg.verb else f"{leg.name} on {who} says {said or 'nothing'}"


def _agree(left: str | None, right: str | None, tolerance: Decimal) -> bool:
    """Whether two different texts are numbers that differ by no more than this."""
    one, other = as_number(left or ""), as_number(right or "")
    return one is not None and other is not None and abs(one - other) <= tolerance
