"""How far the legs of one flow instance have come: their parts, how many are expected, and the values in them."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from datetime import UTC
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from itertools import accumulate
from typing import NamedTuple

from helios.model.payload import number
from helios.reconciliation.arithmetic import ZERO, Range, Rates, add, enclosing
from helios.reconciliation.currency import code_of
from helios.reconciliation.declaration import Flow
from helios.reconciliation.evidence import Evidence, part_of
from helios.reconciliation.expression import Aggregate, Expression, Field, Function, Number, Operation
from helios.reconciliation.leg import Leg, Parts, bound_expression

_COMBINE: Mapping[Function, Callable[[Range, Range], Range]] = {
    "sum": add,
    "min": lambda left, right: Range(min(left.low, right.low), min(left.high, right.high)),
    "max": lambda left, right: Range(max(left.low, right.low), max(left.high, right.high)),
}

Part = list[Evidence]
"""The evidence of one part of a leg, first arrival first; more than one piece is a duplicate or a contradiction."""


class UnreadableError(Exception):
    """A value that a rule needs is absent or is not what the rule takes; the message names the leg and the value."""


class LegProgress(NamedTuple):
    """How far one leg has come.

    Attributes:
        parts: the parts that have arrived, the first first.
        least: the fewest parts with which the leg is complete; 0 if the leg is not expected.
        most: the most parts; None: any number.
        unreadable: why a declared number of parts can't be read; None if all of them can.
    """

    parts: list[Part]
    least: int
    most: int | None
    unreadable: str | None = None

    @property
    def is_short(self) -> bool:
        """Whether parts are lacking."""
        return len(self.parts) < self.least

    @property
    def is_open(self) -> bool:
        """Whether further parts may be expected."""
        return self.most is None or len(self.parts) < self.most

    @property
    def last_needed(self) -> Evidence:
        """The first piece of the part that made the leg complete, or of the last part if it is short."""
        return self.parts[max(1, min(len(self.parts), self.least)) - 1][0]


class Plan:
    """The legs of a flow, prepared once."""

    def __init__(self, flow: Flow) -> None:
        self.legs: Mapping[str, Leg] = {leg.name: leg for leg in flow.leg}
        self.parts: Mapping[str, Parts] = flow.parts
        self.bounds = {
            leg.name: {key: bound_expression(bound) for key, bound in leg.bounds.items()} for leg in flow.leg
        }
        reads = {leg.name: {name for name, _ in leg.bound_reads()} for leg in flow.leg}
        self.bound_legs = {name: _reached(name, reads) for name in reads}
        """By leg, the legs on which its number of parts depends, also by way of the numbers of other legs."""
        self.rates = Rates(flow.rate)


def _reached(leg: str, reads: Mapping[str, set[str]]) -> set[str]:
    """The legs that a leg reads, and those that these read."""
    found: set[str] = set()
    unread = {leg}
    while unread:
        unread = set().union(*(reads[name] for name in unread)) - found
        found |= unread
    return found


class Progress:
    """Reads the evidence of one instance for the rules."""

    def __init__(self, plan: Plan, items: Mapping[str, list[Evidence]], overflow: Mapping[str, int]) -> None:
        """Take the evidence by leg, first arrival first, and the number of deliveries that are only counted."""
        self.plan = plan
        self._items = items
        self._overflow = overflow
        self._parts: dict[str, list[Part]] = {}
        self._legs: dict[str, LegProgress] = {}
        self._totals: dict[tuple[Aggregate, str | None], list[Range]] = {}
        """By aggregate and currency, the value over the first part, the first two, and so on."""

    def with_first(self, leg: str, number: int) -> "Progress":
        """The progress without the later parts of a leg. Values over the parts are not computed again."""
        parts = self.parts(leg)[:number]
        shorter = copy(self)
        shorter._items = {**self._items, leg: [item for part in parts for item in part]}  # noqa: SLF001 - of this class
        shorter._parts = {**self._parts, leg: parts}  # noqa: SLF001 - the same
        shorter._legs = {}  # noqa: SLF001 - the same
        return shorter

    def has_arrived(self, leg: str) -> bool:
        """Whether any event of a leg has arrived."""
        return leg in self._items

    def has_overflowed(self, leg: str) -> bool:
        """Whether a leg has deliveries that are only counted."""
        return leg in self._overflow

    def applies(self, when: Sequence[str], unless: Sequence[str]) -> bool:
        """Whether all of the first legs have arrived, and none of the others."""
        return applies(when, unless, self._items)

    def parts(self, leg: str) -> list[Part]:
        """The parts of a leg, in the order of their first arrival."""
        if leg not in self._parts:
            by_id: dict[str, Part] = {}
            parts = self.plan.parts.get(leg)
            for item in self._items.get(leg, ()):
                by_id.setdefault(part_of(item, parts), []).append(item)
            self._parts[leg] = list(by_id.values())
        return self._parts[leg]

    def of(self, leg: str) -> LegProgress:
        """How far a leg has come."""
        if leg not in self._legs:
            self._legs[leg] = self._progress(self.plan.legs[leg])
        return self._legs[leg]

    def value(
        self, expression: Expression, currency: str | None = None, *, bound_of: str | None = None
    ) -> Range | None:
        """The value of an expression; None if a leg that it needs has not arrived.

        Args:
            expression: what to evaluate.
            currency: the currency to which the amounts of legs that name their currency are converted.
            bound_of: the leg whose number of parts this is; None: a rule needs the value.

        Raises:
            UnreadableError: a field is not a number, or can't be converted.
        """
        match expression:
            case Number(constant):
                return Range(constant, constant)
            case Field(leg, path):
                items = self._items.get(leg)
                return enclosing(self._amount(item, leg, path, currency) for item in items) if items else None
            case Aggregate():
                return self._aggregate(expression, currency, bound_of)
            case Operation(left, sign, right):
                left_value = self.value(left, currency, bound_of=bound_of)
                right_value = self.value(right, currency, bound_of=bound_of)
                return add(left_value, right_value, sign) if left_value and right_value else None

    def currencies(self, leg: str, path: str) -> list[str]:
        """The currencies in a field, sorted: several if the leg is contradictory; none if it has not arrived.

        Raises:
            UnreadableError: a value is not a currency.
        """
        codes = set()
        for item in self._items.get(leg, ()):
            text = item.fields.get(path)
            if (code := code_of(text or "")) is None:
                raise UnreadableError(f"{self._name(leg, item)}.{path} is {text or 'absent'}, not a currency")
            codes.add(code)
        return sorted(codes)

    def _progress(self, leg: Leg) -> LegProgress:
        parts = self.parts(leg.name)
        least, most = int(self._is_required(leg)), None if leg.many else 1
        unreadable = None
        for key, expression in self.plan.bounds[leg.name].items():
            try:
                bound = self.value(expression, bound_of=leg.name)
            except UnreadableError as error:
                unreadable = f"{key} can't be read: {error}"
                continue
            if bound is None:
                continue
            if key != "at_most" and least:
                least = int(bound.high.to_integral_value(ROUND_CEILING))
            if key != "at_least":
                most = int(bound.low.to_integral_value(ROUND_FLOOR))
        return LegProgress(parts, max(0, least), most, unreadable)

    def _is_required(self, leg: Leg) -> bool:
        return not leg.optional and self.applies(leg.when, leg.unless)

    def _is_expected(self, leg: str, bound_of: str | None) -> bool:
        """Whether at least one part of a leg is expected.

        If the numbers of parts of two legs depend on each other, neither can be known first: then a part is expected.
        """
        if bound_of in self.plan.bound_legs[leg]:
            return self._is_required(self.plan.legs[leg])
        return self.of(leg).least > 0

    def _aggregate(self, aggregate: Aggregate, currency: str | None, bound_of: str | None) -> Range | None:
        function, leg, path = aggregate
        parts = self.parts(leg)
        if not parts and (function in {"min", "max"} or self._is_expected(leg, bound_of)):
            return None
        if function == "count":
            return Range(Decimal(len(parts)), Decimal(len(parts)))
        if not parts:
            return ZERO
        totals = self._totals.get((aggregate, currency), [])
        if len(totals) < len(parts):
            ranges = [enclosing(self._amount(item, leg, path, currency) for item in part) for part in parts]
            totals = self._totals[aggregate, currency] = list(accumulate(ranges, _COMBINE[function]))
        return totals[len(parts) - 1]

    def _amount(self, item: Evidence, leg: str, path: str, currency: str | None) -> Decimal:
        text = item.fields.get(path)
        value = number(text or "")
        if value is None:
            found = f"{text} (can't be read as a number)" if text else "absent"
            raise UnreadableError(f"{self._name(leg, item)}.{path} is {found}")
        currency_path = self.plan.legs[leg].currency
        own = item.fields.get(currency_path) if currency and currency_path else None
        if not own or not currency:  # an amount without a currency is in that of the rule
            return value
        code = code_of(own)
        if code is None:
            raise UnreadableError(f"{self._name(leg, item)}.{currency_path} is {own}, not a currency")
        day = item.time.astimezone(UTC).date()
        converted = self.plan.rates.convert(value, code, currency, day)
        if converted is None:
            raise UnreadableError(f"there is no rate from {code} to {currency} on {day}: declare it in [[rate]]")
        return converted

    def _name(self, leg: str, item: Evidence) -> str:
        """The name of a leg, with the id of the part if the leg has several."""
        parts = self.plan.parts.get(leg)
        return f"{leg} {part_of(item, parts)}" if parts else leg


def applies(when: Sequence[str], unless: Sequence[str], arrived: Mapping[str, object]) -> bool:
    """Whether all of the first legs have arrived, and none of the others."""
    return all(leg in arrived for leg in when) and not any(leg in arrived for leg in unless)
