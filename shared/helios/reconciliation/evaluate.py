"""The verdict on a flow instance: a pure function of its evidence, its declaration, and whether its deadline passed."""

import re
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

CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII | re.IGNORECASE)
"""A code of ISO 4217. No other text is a currency: sums are stored by currency, and metrics are labelled with it."""

CLOUD_NAMES: dict[Source | None, str] = {"aws": "AWS", "gcp": "GCP", "azure": "Azure", None: "any cloud"}


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """The verdict on a flow instance. Attributes that are not listed mean what they mean in ``FlowInstance``.

    Attributes:
        complete_at: when the last of the required legs that have arrived did so.
        waiting: whether the deadline can still change the verdict.
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
        """Seconds from the first leg to the last; None unless the instance matched."""
        if self.status in {"matched", "matched_late"}:
            return (self.complete_at - self.opened_at).total_seconds()
        return None

    @property
    def settled_at(self) -> datetime | None:
        """Since when the verdict has been final; None while the instance is open."""
        if self.status == "open":
            return None
        return self.deadline if self.status == "incomplete" else self.complete_at


class _Compared(NamedTuple):
    """A rule with its legs looked up."""

    left: Leg
    left_path: str
    right: Leg
    right_path: str
    tolerance: Decimal


class FlowEvaluator:
    """Evaluates the instances of one flow; the declaration is prepared once.

    Attributes:
        flow: the declaration.
        time_to_deadline: the time from the first leg of an instance to its deadline, unless the deadline is deferred.
        grace: the part of that time that follows the window.
    """

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self._window = timedelta(seconds=flow.window_seconds)
        self.grace = timedelta(seconds=flow.grace_seconds)
        self.time_to_deadline = self._window + self.grace
        legs = {leg.name: leg for leg in flow.leg}
        self._rules = [
            _Compared(legs[left], left_path, legs[right], right_path, rule.tolerance)
            for rule in flow.rule
            for (left, left_path), (right, right_path) in [rule.sides]
        ]
        self._amounts = [side(text) for text in flow.amount]
        self._currencies = [side(text) for text in flow.currency]

    def verdict(self, evidence_set: EvidenceSet, *, now: datetime) -> Verdict:
        """The verdict on an instance with at least one piece of evidence.

        Only ``received_at`` decides whether a leg is late: the clocks of the clouds may be wrong.

        Args:
            evidence_set: all evidence of the instance.
            now: decides whether the deadline has passed, if a required leg has not arrived.
        """
        legs = by_leg(evidence_set)
        opened_at = min([item.received_at for item in evidence_set.items])
        window_end, deadline = opened_at + self._window, opened_at + self.time_to_deadline
        if evidence_set.deferred_until:
            deadline = max(deadline, evidence_set.deferred_until)
        issues: list[FlowIssue] = []
        waiting = missing = late = False
        complete_at = opened_at
        for leg in self.flow.leg:
            items = legs.get(leg.name)
            if items is None:
                if not leg.optional:
                    if now >= deadline:
                        missing = True
                        issues.append(_missing(leg))
                    else:
                        waiting = True
                continue
            first = items[0]
            if first.received_at > window_end:
                late |= not leg.optional
                issues.append(_late(leg, first, window_end))
            if first.received_at > complete_at and not leg.optional:
                complete_at = first.received_at
            if len(items) > 1 or first.deliveries > 1 or leg.name in evidence_set.overflow:
                issues += _repeated(leg, items, evidence_set.deliveries(leg.name))
        if mismatches := list(self._mismatches(legs)):
            issues = mismatches + issues  # the issues that decide the verdict come first
        status: FlowStatus = (
            "mismatched"
            if mismatches
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
            amount=self._amount(legs),
            currency=self._currency(legs),
            opened_at=opened_at,
            deadline=deadline,
            complete_at=complete_at,
            waiting=waiting,
            issues=issues,
        )

    def to_instance(self, key: str, evidence_set: EvidenceSet, *, now: datetime) -> FlowInstance:
        """The whole instance: its verdict, and what is known of each leg."""
        verdict = self.verdict(evidence_set, now=now)
        items = by_leg(evidence_set)
        window_end, overdue = verdict.opened_at + self._window, now >= verdict.deadline
        legs = [
            _leg(
                leg, items.get(leg.name, []), evidence_set.deliveries(leg.name), window_end=window_end, overdue=overdue
            )
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

    def missing_sources(self, evidence_set: EvidenceSet) -> set[Source | None]:
        """The sources of the required legs that have not arrived; None for a leg that any cloud may send."""
        legs = by_leg(evidence_set)
        return {leg.source for leg in self.flow.required if leg.name not in legs}

    def _mismatches(self, legs: Mapping[str, list[Evidence]]) -> Iterator[FlowIssue]:
        """An issue per rule that is broken."""
        for rule in self._rules:
            left, right = legs.get(rule.left.name), legs.get(rule.right.name)
            if left and right and (issue := _mismatch(rule, left, right)):
                yield issue

    def _amount(self, legs: Mapping[str, list[Evidence]]) -> Decimal | None:
        for text in _values(self._amounts, legs):
            if (number := as_number(text)) is not None:
                return number
        return None

    def _currency(self, legs: Mapping[str, list[Evidence]]) -> str | None:
        for text in _values(self._currencies, legs):
            if CURRENCY.fullmatch(text):
                return text.upper()
        return None


def by_leg(evidence_set: EvidenceSet) -> dict[str, list[Evidence]]:
    """The evidence of each leg, first arrival first."""
    legs = {item.leg: [item] for item in evidence_set.items}
    if len(legs) < len(evidence_set.items):
        legs = {leg: evidence_set.of(leg) for leg in legs}
    return legs


def _values(sides: list[tuple[str, str]], legs: Mapping[str, list[Evidence]]) -> Iterator[str]:
    """The values of the legs at these paths, in the order of the paths."""
    for leg, path in sides:
        for item in legs.get(leg, ()):
            if text := item.fields.get(path):
                yield text


def _leg(leg: Leg, items: list[Evidence], deliveries: int, *, window_end: datetime, overdue: bool) -> FlowLeg:
    first = items[0] if items else None
    state: LegState
    if first:
        state = "present" if first.received_at <= window_end else "late"
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
    detail = f"{leg.name}: no {leg.type} from {CLOUD_NAMES[leg.source]}"
    return FlowIssue(kind="missing", legs=[leg.name], field=None, values={}, detail=detail)


def _late(leg: Leg, first: Evidence, window_end: datetime) -> FlowIssue:
    seconds = (first.received_at - window_end).total_seconds()
    detail = f"{leg.name}: {CLOUD_NAMES[first.source]} arrived {seconds:.1f} s after the window ended"
    return FlowIssue(kind="late", legs=[leg.name], field=None, values={leg.name: f"{seconds:.3f}"}, detail=detail)


def _repeated(leg: Leg, items: list[Evidence], deliveries: int) -> Iterator[FlowIssue]:
    """The issues of a leg that arrived more than once: a duplicate, a contradiction, or both."""
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
            detail=f"{leg.name}: {CLOUD_NAMES[items[0].source]} sent it {deliveries} times",
        )
    if len(variants) > 1:
        names = sorted({name for item in variants for name in item.fields})
        differing = [name for name in names if len({item.fields.get(name) for item in variants}) > 1]
        field = differing[0] if differing else None
        values = [item.fields.get(field, "absent") if field else item.id for item in variants]
        cloud = CLOUD_NAMES[items[0].source]
        yield FlowIssue(
            kind="contradictory",
            legs=[leg.name],
            field=field,
            values={str(number): text for number, text in enumerate(values, start=1)},
            detail=f"{leg.name}: {cloud} contradicts itself: {field or 'content'} is {' and '.join(values)}",
        )


def _mismatch(rule: _Compared, left_items: list[Evidence], right_items: list[Evidence]) -> FlowIssue | None:
    """The issue of a rule that any two variants of its legs break; None if none do."""
    for left_item in left_items:
        left = left_item.fields.get(rule.left_path)
        for right_item in right_items:
            right = right_item.fields.get(rule.right_path)
            if left != right and not _agree(left, right, rule.tolerance):
                left_words, right_words = _words(rule.left, left_item, left), _words(rule.right, right_item, right)
                return FlowIssue(
                    kind="mismatch",
                    legs=[rule.left.name, rule.right.name],
                    field=rule.left_path,
                    values={rule.left.name: left or "absent", rule.right.name: right or "absent"},
                    detail=f"{rule.left_path}: {left_words}, {right_words}",
                )
    return None


def _words(leg: Leg, item: Evidence, value: str | None) -> str:
    """The value of a leg in words, with the verb of its declaration: ``Azure reserved 2``."""
    cloud, text = CLOUD_NAMES[item.source], value or "nothing"
    return f"{cloud} {leg.verb} {text}" if leg.verb else f"{leg.name} on {cloud} is {text}"


def _agree(left: str | None, right: str | None, tolerance: Decimal) -> bool:
    """Whether two different texts are numbers that differ by at most the tolerance."""
    left_number, right_number = as_number(left or ""), as_number(right or "")
    return left_number is not None and right_number is not None and abs(left_number - right_number) <= tolerance
