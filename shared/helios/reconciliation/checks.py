"""The checks of one flow instance beyond two equal fields: how many parts, computed values, order, and sequences.

Each check is a pure function of the evidence. A check that fails names the legs whose further events can still make it
hold: until the deadline, the instance waits for them instead of being mismatched.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final, NamedTuple, Protocol

from helios.model.flows import FlowIssue, IssueKind
from helios.model.payload import number
from helios.reconciliation.arithmetic import Range, holds
from helios.reconciliation.currency import code_of
from helios.reconciliation.declaration import Flow
from helios.reconciliation.evidence import Evidence
from helios.reconciliation.expression import Field, Number, aggregated, parse, reads
from helios.reconciliation.leg import Leg, bound_expression
from helios.reconciliation.progress import Progress, UnreadableError
from helios.reconciliation.rule import Comparison, Rule

MAX_LISTED: Final = 8
"""The most gaps that an issue lists; a sender that jumps must not fill a record."""

_WORDS: Final[Mapping[Comparison, str]] = {
    "equal": "but {right}",
    "at_most": "more than {right}",
    "at_least": "less than {right}",
}


class Failure(NamedTuple):
    """A check that fails.

    Attributes:
        issue: the issue, if the failure is final.
        awaited: the legs whose further events can make the check hold; none: the failure is final at once.
    """

    issue: FlowIssue
    awaited: list[str]


class Check(Protocol):
    """One check of a flow.

    Attributes:
        aggregates: the legs over whose parts the check has functions, so that a further part can make it hold.
    """

    aggregates: frozenset[str]

    def failure(self, progress: Progress) -> Failure | None:
        """Why the check fails; None if it holds, or can't be decided because a leg has not arrived."""


def checks_of(flow: Flow) -> list[Check]:
    """The checks of a flow; rules of two equal fields are not among them."""
    checks: list[Check] = [_PartsCheck(leg) for leg in flow.leg if leg.many]
    for rule in flow.rule:
        if rule.comparison and rule.fields is None:
            checks.append(_ComparisonCheck(rule, *rule.comparison))
        elif rule.before:
            checks.append(_OrderCheck(rule))
        elif rule.sequence and isinstance(field := parse(rule.sequence), Field):
            checks.append(SequenceCheck(rule, field))
    return checks


class _PartsCheck:
    """Whether a leg has no more parts than its declaration allows."""

    def __init__(self, leg: Leg) -> None:
        self._leg = leg
        self._bound_legs = list(dict.fromkeys(name for name, _ in leg.bound_reads()))
        self.aggregates = frozenset(
            name for bound in leg.bounds.values() for name in aggregated(bound_expression(bound))
        )

    def failure(self, progress: Progress) -> Failure | None:
        name = self._leg.name
        parts, _, most, unreadable = progress.of(name)
        if unreadable:
            return Failure(_issue("mismatch", [name], f"{name}: {unreadable}"), [])
        found = len(parts)
        if progress.has_overflowed(name) and found >= self._leg.max_evidence:
            detail = f"{name}: more than {found} events arrived, and not all are stored: raise max_evidence"
            return Failure(_issue("excess", [name], detail, values={name: f"more than {found}"}), [])
        if most is None or found <= most:
            return None
        detail = f"{name}: {found} arrived, {most} expected"
        values = {name: str(found), "expected": str(most)}
        return Failure(_issue("excess", [name], detail, values=values), _open(progress, self._bound_legs))


class _ComparisonCheck:
    """Whether two expressions compare as a rule says."""

    def __init__(self, rule: Rule, kind: Comparison, texts: tuple[str, str]) -> None:
        self._rule = rule
        self._kind, self._texts = kind, texts
        self._left, self._right = map(parse, self._texts)
        self.aggregates = frozenset([*aggregated(self._left), *aggregated(self._right)])
        self._currency_field = parse(rule.in_currency) if rule.in_currency and "." in rule.in_currency else None
        self._legs = list(dict.fromkeys(leg for leg, _ in rule.reads()))
        paths = [path for side in (self._left, self._right) for _, path in reads(side) if path]
        self._field = paths[0] if paths else None

    def failure(self, progress: Progress) -> Failure | None:
        if not _is_decidable(self._rule, self._legs, progress):
            return None
        try:
            for currency in self._currencies(progress):
                left, right = progress.value(self._left, currency), progress.value(self._right, currency)
                if left is None or right is None:
                    return None
                rule = self._rule
                if not holds(self._kind, left, right, tolerance=rule.tolerance, is_relative=rule.is_relative):
                    return Failure(self._mismatch(left, right, currency), _open(progress, self._legs))
        except UnreadableError as error:
            return Failure(_issue("mismatch", self._legs, f"{' and '.join(self._texts)}: {error}", self._field), [])
        return None

    def _currencies(self, progress: Progress) -> Sequence[str | None]:
        """The currencies in which the rule must hold; None: the amounts are compared as they are."""
        if isinstance(self._currency_field, Field):
            return progress.currencies(*self._currency_field)
        return [code_of(self._rule.in_currency)] if self._rule.in_currency else [None]

    def _mismatch(self, left: Range, right: Range, currency: str | None) -> FlowIssue:
        unit = f" {currency}" if currency else ""
        left_text, right_text = self._texts
        right_words = f"{right}{unit}" if isinstance(self._right, Number) else f"{right_text} is {right}{unit}"
        if self._kind != "equal" and not isinstance(self._right, Number):
            right_words = f"{right_text}, which is {right}{unit}"
        allowed = f" (within {self._rule.within})" if self._rule.within else ""
        detail = f"{left_text} is {left}{unit}, {_WORDS[self._kind].format(right=right_words)}{allowed}"
        values = {left_text: f"{left}{unit}", right_text: f"{right}{unit}"}
        return _issue("mismatch", self._legs, detail, self._field, values)


class _OrderCheck:
    """Whether events happened in the declared order, by the clocks of their clouds."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._skew = timedelta(seconds=rule.skew_seconds or 0)
        self.aggregates = frozenset[str]()

    def failure(self, progress: Progress) -> Failure | None:
        if not progress.applies(self._rule.when, self._rule.unless):
            return None
        arrived = [name for name in self._rule.before or () if progress.has_arrived(name)]
        times = {name: min(item.time for part in progress.parts(name) for item in part) for name in arrived}
        for first, second in pairwise(arrived):
            if times[second] < times[first] - self._skew:
                return Failure(_disorder(first, times[first], second, times[second]), [])
        return None


class SequenceCheck:
    """Whether each producer's numbers have no gap.

    Attributes:
        leg: the leg that has the numbers.
    """

    def __init__(self, rule: Rule, field: Field) -> None:
        self._rule = rule
        self.leg, self._path = field
        self.aggregates = frozenset[str]()  # ``holds_since`` says the same without a check for each part

    def failure(self, progress: Progress) -> Failure | None:
        """Why a number is absent or can't be read; None if none is."""
        if not _is_decidable(self._rule, [self.leg], progress):
            return None
        try:
            by_producer = self._numbers(progress)
        except UnreadableError as error:
            return Failure(_issue("mismatch", [self.leg], str(error), self._path), [])
        gaps = {producer: list(_gaps(numbers, self._rule.first)) for producer, numbers in sorted(by_producer.items())}
        missing = {producer: found for producer, found in gaps.items() if found}
        if not missing:
            return None
        words = [f"{_listed(found)} of {producer or 'its producer'}" for producer, found in missing.items()]
        detail = f"{self.leg}: {self._path} {' and '.join(words[:MAX_LISTED])} did not arrive"
        values = {self.leg: "; ".join(_listed(found) for found in missing.values())}
        return Failure(_issue("gap", [self.leg], detail, self._path, values), _open(progress, [self.leg]))

    def holds_since(self, progress: Progress) -> int:
        """The number of first parts since which a check that does not fail has not failed."""
        if not _is_decidable(self._rule, [self.leg], progress):
            return 0
        by_producer: dict[str, set[int]] = {}
        ranges: dict[str, tuple[int, int]] = {}
        incomplete: set[str] = set()
        since = 1
        for position, part in enumerate(progress.parts(self.leg), start=1):
            for item in part:
                producer, value = item.producer, self._number(item)
                known = by_producer.setdefault(producer, set())
                known.add(value)
                low, high = ranges.get(producer, (value if self._rule.first is None else self._rule.first, value))
                ranges[producer] = low, high = min(low, value), max(high, value)
                (incomplete.discard if len(known) > high - low else incomplete.add)(producer)
            if incomplete:
                since = position + 1
        return since

    def _numbers(self, progress: Progress) -> dict[str, set[int]]:
        by_producer: dict[str, set[int]] = {}
        for part in progress.parts(self.leg):
            for item in part:
                by_producer.setdefault(item.producer, set()).add(self._number(item))
        return by_producer

    def _number(self, item: Evidence) -> int:
        text = item.fields.get(self._path)
        value = number(text or "")
        if value is None or value != value.to_integral_value():
            raise UnreadableError(f"{self.leg}.{self._path} is {text or 'absent'}, not a whole number")
        return int(value)


def _is_decidable(rule: Rule, legs: Iterable[str], progress: Progress) -> bool:
    """Whether a rule applies, and none of its legs lacks parts: these are reported as missing, and not twice."""
    return progress.applies(rule.when, rule.unless) and not any(progress.of(leg).is_short for leg in legs)


def _open(progress: Progress, legs: Iterable[str]) -> list[str]:
    return [leg for leg in legs if progress.of(leg).is_open]


def _gaps(numbers: set[int], first: int | None) -> Iterator[tuple[int, int]]:
    """The ranges of numbers that are absent, from the first number up to the largest that has arrived."""
    ordered = sorted(numbers)
    begin = [first - 1] if first is not None and first < ordered[0] else []
    for left, right in pairwise(begin + ordered):
        if right - left > 1:
            yield left + 1, right - 1


def _listed(gaps: list[tuple[int, int]]) -> str:
    words = [str(begin) if begin == end else f"{begin} to {end}" for begin, end in gaps[:MAX_LISTED]]
    more = f" and {len(gaps) - MAX_LISTED} more gaps" if len(gaps) > MAX_LISTED else ""
    return ", ".join(words) + more


def _disorder(first: str, first_time: datetime, second: str, second_time: datetime) -> FlowIssue:
    seconds = (first_time - second_time).total_seconds()
    detail = f"{second}: happened {seconds:.3f} s before {first}"
    values = {first: first_time.isoformat(), second: second_time.isoformat()}
    return _issue("out_of_order", [first, second], detail, values=values)


def _issue(
    kind: IssueKind, legs: list[str], detail: str, field: str | None = None, values: dict[str, str] | None = None
) -> FlowIssue:
    return FlowIssue(kind=kind, legs=legs, field=field, values=values or {}, detail=detail)
