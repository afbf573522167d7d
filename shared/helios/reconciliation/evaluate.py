"""The verdict on a flow instance: a pure function of its evidence, its declaration, and whether its deadline passed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

import msgspec

from helios.model.flows import FlowInstance, FlowIssue, FlowLeg, FlowStatus, LegState
from helios.model.payload import number
from helios.model.sources import Source
from helios.reconciliation.checks import Check, Failure, SequenceCheck, checks_of
from helios.reconciliation.currency import code_of
from helios.reconciliation.declaration import Flow, side
from helios.reconciliation.evidence import Evidence, EvidenceSet, merge
from helios.reconciliation.leg import Leg
from helios.reconciliation.progress import LegProgress, Part, Plan, Progress, applies
from helios.reconciliation.rule import Rule
from helios.sources.registry import CLOUDS, Sources

BEFORE, AFTER = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
"""Moments before and after any deadline."""

MAX_PART_ISSUES = 8
"""The most parts of one leg whose contradictions are listed."""

ANY_SOURCE = "any source"
"""The name of the source of a leg that any source may send."""


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """The verdict on a flow instance. Attributes that are not listed mean what they mean in ``FlowInstance``.

    Attributes:
        complete_at: when the last of the required legs that have arrived did so.
        waiting: whether the deadline can still change the verdict.
        awaited: the legs for whose events an open instance waits.
        is_final_at_deadline: whether the passing of the deadline decided the verdict.
    """

    status: FlowStatus
    amount: Decimal | None
    currency: str | None
    opened_at: datetime
    deadline: datetime
    complete_at: datetime
    waiting: bool
    issues: list[FlowIssue]
    awaited: list[str]
    is_final_at_deadline: bool

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
        return self.deadline if self.is_final_at_deadline else self.complete_at


_Arrival = tuple[Leg, list[Evidence], bool, bool, Evidence | None]
"""A leg, its evidence, whether it is expected, whether it lacks something, and the piece that made it complete; of a
leg that lacks something, the piece that came last."""

_NOTHING: list[Evidence] = []


class _Compared(NamedTuple):
    """A rule with its legs looked up.

    Attributes:
        is_currency: whether it compares currencies: these have no case, and a leg that names none disagrees with none.
        is_number: whether the rule has a tolerance, and so compares numbers.
        when: the legs that must have arrived for the rule to apply.
        unless: the legs of which none may have arrived.
        is_conditional: whether ``when`` or ``unless`` names a leg.
    """

    left: Leg
    left_path: str
    right: Leg
    right_path: str
    tolerance: Decimal
    is_currency: bool
    is_number: bool
    when: Sequence[str]
    unless: Sequence[str]
    is_conditional: bool


class FlowEvaluator:
    """Evaluates the instances of one flow; the declaration is prepared once.

    Attributes:
        flow: the declaration.
        sources: the names of the sources, for issues.
        time_to_deadline: the time from the first leg of an instance to its deadline, unless the deadline is deferred.
        grace: the part of that time that follows the window.
    """

    def __init__(self, flow: Flow, sources: Sources = CLOUDS) -> None:
        self.flow = flow
        self.sources = sources
        self._window = timedelta(seconds=flow.window_seconds)
        self.grace = timedelta(seconds=flow.grace_seconds)
        self.time_to_deadline = self._window + self.grace
        self._amounts = [side(text) for text in flow.amount]
        self._currencies = [side(text) for text in flow.currency]
        self._plan = Plan(flow)
        self._legs = [(leg.name, leg, not leg.optional) for leg in flow.leg]
        self._rules = [compared for rule in flow.rule if (compared := self._compared(rule))]
        self._checks = checks_of(flow)
        self._aggregates = {
            leg.name: [check for check in self._checks if leg.name in check.aggregates] for leg in flow.leg
        }
        sequences = [check for check in self._checks if isinstance(check, SequenceCheck)]
        self._sequences = {leg.name: [check for check in sequences if check.leg == leg.name] for leg in flow.leg}
        self._is_plain = not any(leg.many or leg.is_conditional for leg in flow.leg) and not self._checks
        """Whether each leg has one part that is always expected, and rules compare two fields: the fast case."""

    def merge(self, evidence_sets: Sequence[EvidenceSet]) -> EvidenceSet:
        """One set with all evidence of an instance; see ``evidence.merge``."""
        return merge(evidence_sets, self._plan.parts)

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
        progress = None if self._is_plain else Progress(self._plan, legs, evidence_set.overflow)
        issues: list[FlowIssue] = []
        awaited: list[str] = []
        missing = late = False
        complete_at = opened_at
        for leg, items, is_required, is_short, needed in self._arrivals(legs, progress):
            if is_short:
                if now >= deadline:
                    missing = True
                    issues.append(_missing(self.sources, leg, progress))
                else:
                    awaited.append(leg.name)
            if needed is None:
                continue
            if needed.received_at > window_end:
                late |= is_required
                issues.append(_late(self.sources, leg, needed, window_end))
            if needed.received_at > complete_at and is_required:
                complete_at = needed.received_at
            if len(items) > 1 or needed.deliveries > 1 or leg.name in evidence_set.overflow:
                parts = progress.parts(leg.name) if progress else [items]
                issues += _repeated(self.sources, leg, parts, evidence_set.deliveries(leg.name))
        mismatches = self._mismatches(legs)
        is_final_at_deadline = missing and not mismatches
        if progress:
            final, pending = self._failures(progress, overdue=now >= deadline)
            awaited += pending
            mismatches += [failure.issue for failure in final]
            is_final_at_deadline |= any(failure.awaited for failure in final)
        return Verdict(
            status=_status(mismatches, awaited, missing=missing, late=late),
            amount=self._amount(legs),
            currency=self._currency(legs),
            opened_at=opened_at,
            deadline=deadline,
            complete_at=complete_at,
            # Further parts or conditions can break what held, so that the deadline decides about every such instance.
            waiting=bool(awaited) or (progress is not None and now < deadline),
            issues=mismatches + issues,  # the issues that decide the verdict come first
            awaited=awaited,
            is_final_at_deadline=is_final_at_deadline,
        )

    def _arrivals(self, legs: Mapping[str, list[Evidence]], progress: Progress | None) -> list[_Arrival]:
        """What has arrived of each leg."""
        if progress is None:  # for every event, so without a call per leg
            return [
                (leg, items, is_required, is_required and not items, items[0] if items else None)
                for name, leg, is_required in self._legs
                for items in (legs.get(name, _NOTHING),)
            ]
        states = [(leg, legs.get(leg.name, _NOTHING), progress.of(leg.name)) for leg in self.flow.leg]
        return [
            (leg, items, state.least > 0, state.is_short, self._last_needed(progress, leg.name) if items else None)
            for leg, items, state in states
        ]

    def _last_needed(self, progress: Progress, leg: str) -> Evidence:
        """The first piece of the part that made a leg complete, or of the last part if it is short.

        If rules have functions over its parts, or sequences of them, and hold, it is the part since which they hold.
        """
        state, checks, sequences = progress.of(leg), self._aggregates[leg], self._sequences[leg]
        number, least = len(state.parts), state.least
        if not (checks or sequences) or not 0 < least < number or _any_fails([*checks, *sequences], progress):
            return state.last_needed
        since = max([least, *(check.holds_since(progress) for check in sequences)])
        if checks:
            while number > since and not _any_fails(checks, progress.with_first(leg, number - 1)):
                number -= 1
            since = number
        return state.parts[since - 1][0]

    def to_instance(self, key: str, evidence_set: EvidenceSet, *, now: datetime) -> FlowInstance:
        """The whole instance: its verdict, and what is known of each leg."""
        verdict = self.verdict(evidence_set, now=now)
        progress = Progress(self._plan, by_leg(evidence_set), evidence_set.overflow)
        window_end, overdue = verdict.opened_at + self._window, now >= verdict.deadline
        legs = [
            _leg(
                leg,
                progress.of(leg.name),
                evidence_set.deliveries(leg.name),
                self._last_needed(progress, leg.name) if progress.has_arrived(leg.name) else None,
                window_end=window_end,
                overdue=overdue,
                is_awaited=leg.name in verdict.awaited,
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

    def awaited_sources(self, evidence_set: EvidenceSet) -> set[Source | None]:
        """The sources of the events for which an instance waits; None for a leg that any cloud may send."""
        awaited = self.verdict(evidence_set, now=BEFORE).awaited
        return {leg.source for leg in self.flow.leg if leg.name in awaited}

    def _compared(self, rule: Rule) -> _Compared | None:
        """A rule of two equal fields, prepared; None of any other rule."""
        if rule.fields is None:
            return None
        left, right = rule.fields
        sides = {(left.leg, left.path), (right.leg, right.path)}
        currencies = {*self._currencies, *((leg.name, leg.currency) for leg in self.flow.leg if leg.currency)}
        return _Compared(
            self._plan.legs[left.leg],
            left.path,
            self._plan.legs[right.leg],
            right.path,
            rule.tolerance,
            is_currency=not sides.isdisjoint(currencies),
            is_number=rule.within is not None,
            when=rule.when,
            unless=rule.unless,
            is_conditional=bool(rule.when or rule.unless),
        )

    def _mismatches(self, legs: Mapping[str, list[Evidence]]) -> list[FlowIssue]:
        """An issue per rule of two equal fields that is broken."""
        issues = []
        for rule in self._rules:
            if rule.is_conditional and not applies(rule.when, rule.unless, legs):
                continue
            left, right = legs.get(rule.left.name), legs.get(rule.right.name)
            if left and right and (issue := _mismatch(self.sources, rule, left, right)):
                issues.append(issue)
        return issues

    def _failures(self, progress: Progress, *, overdue: bool) -> tuple[list[Failure], list[str]]:
        """The failures that are final, and the legs that can still make the other checks hold."""
        failures = [failure for check in self._checks if (failure := check.failure(progress))]
        final = [failure for failure in failures if overdue or not failure.awaited]
        return final, [] if overdue else [leg for failure in failures for leg in failure.awaited]

    def _amount(self, legs: Mapping[str, list[Evidence]]) -> Decimal | None:
        for leg, path in self._amounts:
            for item in legs.get(leg, _NOTHING):
                if (text := item.fields.get(path)) and (amount := number(text)) is not None:
                    return amount
        return None

    def _currency(self, legs: Mapping[str, list[Evidence]]) -> str | None:
        for leg, path in self._currencies:
            for item in legs.get(leg, _NOTHING):
                if (text := item.fields.get(path)) and (code := code_of(text)):
                    return code
        return None


def _any_fails(checks: Iterable[Check], progress: Progress) -> bool:
    return any(check.failure(progress) for check in checks)


def by_leg(evidence_set: EvidenceSet) -> dict[str, list[Evidence]]:
    """The evidence of each leg, first arrival first."""
    legs = {item.leg: [item] for item in evidence_set.items}
    if len(legs) < len(evidence_set.items):
        legs = {leg: evidence_set.of(leg) for leg in legs}
    return legs


def _status(mismatches: list[FlowIssue], awaited: list[str], *, missing: bool, late: bool) -> FlowStatus:
    """The verdict; a broken rule decides over a missing leg, and a missing leg over one that may still arrive."""
    if mismatches:
        return "mismatched"
    if missing:
        return "incomplete"
    if awaited:
        return "open"
    return "matched_late" if late else "matched"


def _leg(
    leg: Leg,
    progress: LegProgress,
    deliveries: int,
    needed: Evidence | None,
    *,
    window_end: datetime,
    overdue: bool,
    is_awaited: bool,
) -> FlowLeg:
    first = progress.parts[0][0] if progress.parts else None
    state: LegState
    if progress.is_short or is_awaited:
        state = "missing" if overdue else "pending"
    elif needed is None:
        state = "pending"
    else:
        state = "present" if needed.received_at <= window_end else "late"
    return FlowLeg(
        name=leg.name,
        source=first.source if first else leg.source,
        type=leg.type,
        optional=leg.optional or (leg.is_conditional and not progress.least),
        state=state,
        parts=len(progress.parts),
        expected=progress.least,
        event_id=first.id if first else None,
        producer=first.producer if first else None,
        time=first.time if first else None,
        received_at=first.received_at if first else None,
        fields=first.fields if first else {},
        deliveries=deliveries,
    )


def _missing(sources: Sources, leg: Leg, progress: Progress | None) -> FlowIssue:
    source = sources.label(leg.source) if leg.source else ANY_SOURCE
    found, expected = (len(progress.parts(leg.name)), progress.of(leg.name).least) if progress else (0, 1)
    if expected == 1:
        detail = f"{leg.name}: no {leg.type} from {source}"
        return FlowIssue(kind="missing", legs=[leg.name], field=None, values={}, detail=detail)
    detail = f"{leg.name}: {found} of {expected} {leg.type} from {source}"
    values = {leg.name: str(found), "expected": str(expected)}
    return FlowIssue(kind="missing", legs=[leg.name], field=None, values=values, detail=detail)


def _late(sources: Sources, leg: Leg, first: Evidence, window_end: datetime) -> FlowIssue:
    seconds = (first.received_at - window_end).total_seconds()
    detail = f"{leg.name}: {sources.label(first.source)} arrived {seconds:.1f} s after the window ended"
    return FlowIssue(kind="late", legs=[leg.name], field=None, values={leg.name: f"{seconds:.3f}"}, detail=detail)


def _repeated(sources: Sources, leg: Leg, parts: list[Part], deliveries: int) -> Iterator[FlowIssue]:
    """The issues of a leg of which a part arrived more than once: a duplicate, contradictions, or both."""
    variants = [list(_by_content(part).values()) for part in parts]
    distinct = sum(map(len, variants))
    source = sources.label(parts[0][0].source)
    if deliveries > distinct:
        what = f"{len(parts)} parts in {deliveries} deliveries" if leg.many else f"it {deliveries} times"
        yield FlowIssue(
            kind="duplicate",
            legs=[leg.name],
            field=None,
            values={leg.name: str(deliveries)},
            detail=f"{leg.name}: {source} sent {what}",
        )
    contradictory = [part for part in variants if len(part) > 1]
    for part in contradictory[:MAX_PART_ISSUES]:
        own_id = part[0].fields.get(leg.id or "")
        yield _contradiction(sources, leg, f"{leg.name} {own_id}" if own_id else leg.name, part)


def _by_content(part: Part) -> dict[str, Evidence]:
    """The first piece of each content."""
    by_content: dict[str, Evidence] = {}
    for item in part:
        by_content.setdefault(item.content, item)
    return by_content


def _contradiction(sources: Sources, leg: Leg, name: str, variants: list[Evidence]) -> FlowIssue:
    """The issue of a part that arrived with different contents."""
    names = sorted({name for item in variants for name in item.fields})
    differing = [name for name in names if len({item.fields.get(name) for item in variants}) > 1]
    field = differing[0] if differing else None
    values = [item.fields.get(field, "absent") if field else item.id for item in variants]
    cloud = sources.label(variants[0].source)
    return FlowIssue(
        kind="contradictory",
        legs=[leg.name],
        field=field,
        values={str(number): text for number, text in enumerate(values, start=1)},
        detail=f"{name}: {cloud} contradicts itself: {field or 'content'} is {' and '.join(values)}",
    )


def _mismatch(
    sources: Sources, rule: _Compared, left_items: list[Evidence], right_items: list[Evidence]
) -> FlowIssue | None:
    """The issue of a rule that any two variants of its legs break; None if none do."""
    for left_item in left_items:
        left = left_item.fields.get(rule.left_path)
        for right_item in right_items:
            right = right_item.fields.get(rule.right_path)
            if left != right and not _agree(left, right, rule):
                left_words = _words(sources, rule.left, left_item, left, is_number=rule.is_number)
                right_words = _words(sources, rule.right, right_item, right, is_number=rule.is_number)
                return FlowIssue(
                    kind="mismatch",
                    legs=[rule.left.name, rule.right.name],
                    field=rule.left_path,
                    values={rule.left.name: left or "absent", rule.right.name: right or "absent"},
                    detail=f"{rule.left_path}: {left_words}, {right_words}",
                )
    return None


def _words(sources: Sources, leg: Leg, item: Evidence, value: str | None, *, is_number: bool) -> str:
    """The value of a leg in words, with the verb of its declaration: ``Azure reserved 2``."""
    cloud, text = sources.label(item.source), value or "nothing"
    if is_number and value and number(value) is None:
        text += " (can't be read as a number)"
    return f"{cloud} {leg.verb} {text}" if leg.verb else f"{leg.name} on {cloud} is {text}"


def _agree(left: str | None, right: str | None, rule: _Compared) -> bool:
    """Whether two different texts are the same currency, or numbers that differ by at most the tolerance."""
    if rule.is_currency:
        return not left or not right or left.upper() == right.upper()
    left_number, right_number = number(left or ""), number(right or "")
    return left_number is not None and right_number is not None and abs(left_number - right_number) <= rule.tolerance
