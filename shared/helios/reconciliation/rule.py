"""The rules of a declared flow and its exchange rates, and what can be wrong with their declaration."""

from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from itertools import chain
from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import Meta

from helios.reconciliation.currency import code_of
from helios.reconciliation.expression import Expression, ExpressionError, Field, parse, reads
from helios.reconciliation.leg import ExpressionText, Fault, Leg, Name, expression_fault, unknown_leg

Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$")]
Comparison = Literal["equal", "at_most", "at_least"]
COMPARISONS: Final[tuple[Comparison, ...]] = get_args(Comparison)
KINDS: Final = (*COMPARISONS, "before", "sequence")
"""The keys of which a rule has exactly one."""


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What must hold between the legs. A rule has exactly one of the first five attributes.

    Attributes:
        equal: two expressions with the same value; a field alone is also compared as text.
        at_most: two expressions, the first of which is not more than the second.
        at_least: two expressions, the first of which is not less than the second.
        before: legs in the order in which their events happened, by the clocks of their clouds.
        sequence: a field ``leg.field`` of a leg with several parts: whole numbers that each producer counts up by 1.
        within: the largest difference between two values that agree, as decimal text: a number, or a share of the first
            value in percent such as ``2%``; None: 0.
        in_currency: amounts are converted to this currency: a code of ISO 4217, or a field ``leg.field``.
        skew_seconds: by how much the clocks of the clouds may differ; only with ``before``.
        first: the number with which each producer begins; only with ``sequence``. None: the lowest that has arrived.
        when: the rule applies only if all of these legs have arrived.
        unless: the rule does not apply if any of these legs has arrived.
    """

    equal: tuple[ExpressionText, ExpressionText] | None = None
    at_most: tuple[ExpressionText, ExpressionText] | None = None
    at_least: tuple[ExpressionText, ExpressionText] | None = None
    before: Annotated[tuple[Name, ...], Meta(min_length=2, max_length=16)] | None = None
    sequence: ExpressionText | None = None
    within: Annotated[str, Meta(pattern=r"^\d{1,18}(\.\d{1,18})?%?$")] | None = None
    in_currency: ExpressionText | None = None
    skew_seconds: Annotated[float, Meta(ge=0, le=24 * 60 * 60)] | None = None
    first: Annotated[int, Meta(ge=0)] | None = None
    when: tuple[Name, ...] = ()
    unless: tuple[Name, ...] = ()

    @property
    def tolerance(self) -> Decimal:
        """``within`` as a number; of a percentage, the share."""
        text = self.within or "0"
        return Decimal(text[:-1]).scaleb(-2) if text.endswith("%") else Decimal(text)

    @property
    def is_relative(self) -> bool:
        """Whether ``within`` is a percentage."""
        return bool(self.within and self.within.endswith("%"))

    @property
    def comparison(self) -> tuple[Comparison, tuple[str, str]] | None:
        """Which comparison the rule makes, and of which expressions; None if it compares none."""
        for kind in COMPARISONS:
            if texts := getattr(self, kind):
                return kind, texts
        return None

    @property
    def fields(self) -> tuple[Field, Field] | None:
        """The two fields that must be equal, if the rule is no more than that; such a rule also compares texts."""
        if self.equal is None or self.in_currency is not None or self.is_relative:
            return None
        left, right = parse(self.equal[0]), parse(self.equal[1])
        return (left, right) if isinstance(left, Field) and isinstance(right, Field) else None

    def reads(self) -> Iterator[tuple[str, str]]:
        """What the rule reads, as (leg, path); the path is empty where no field is read."""
        yield from chain.from_iterable(reads(expression) for expression in self._expressions())
        for leg in self.before or ():
            yield leg, ""

    def _expressions(self) -> Iterator[Expression]:
        texts = [*self.comparison[1]] if self.comparison else []
        if self.sequence:
            texts.append(self.sequence)
        if self.in_currency and "." in self.in_currency:
            texts.append(self.in_currency)
        return map(parse, texts)


class Rate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An exchange rate: 1 unit of ``currency`` is ``rate`` units of ``to``.

    Attributes:
        currency: the currency from which amounts are converted.
        to: the currency to which they are converted.
        rate: decimal text.
        since: the first day, UTC, on which the rate holds, until the next one of the same currencies; None: from the
            beginning.
    """

    currency: Currency
    to: Currency
    rate: Annotated[str, Meta(pattern=r"^\d{1,9}(\.\d{1,18})?$")]
    since: date | None = None


def rule_fault(rules: Sequence[Rule], legs: Sequence[Leg]) -> Fault | None:
    """The first fault of the rules of one flow; None if there is none. Each rule has the right shape."""
    for number, rule in enumerate(rules):
        if fault := _kind_fault(rule) or _leg_faults(rule, legs) or _currency_fault(rule, legs):
            key, reason = fault
            return f"rule[{number}].{key}" if key else f"rule[{number}]", reason
    return None


def rate_fault(rates: Sequence[Rate]) -> Fault | None:
    """The first fault of a table of rates; None if there is none."""
    known = set()
    for number, rate in enumerate(rates):
        if not Decimal(rate.rate):
            return f"rate[{number}].rate", "must be more than 0"
        if rate.currency == rate.to:
            return f"rate[{number}].to", f"must be another currency than {rate.currency}"
        if (key := (rate.currency, rate.to, rate.since)) in known:
            day = f"from {rate.since} on" if rate.since else "without a date"
            return f"rate[{number}]", f"another rate from {rate.currency} to {rate.to} {day} is declared: remove one"
        known.add(key)
    return None


def _kind_fault(rule: Rule) -> Fault | None:
    kinds = [kind for kind in KINDS if getattr(rule, kind) is not None]
    if len(kinds) != 1:
        found = f"has {' and '.join(kinds)}" if kinds else "has none"
        return kinds[-1] if kinds else "", f"a rule has exactly one of {', '.join(KINDS)}; this one {found}"
    for key, owners in (
        ("within", COMPARISONS),
        ("in_currency", COMPARISONS),
        ("skew_seconds", ("before",)),
        ("first", ("sequence",)),
    ):
        if getattr(rule, key) is not None and kinds[0] not in owners:
            return key, f"belongs to a rule with {' or '.join(owners)}: remove it"
    return None


def _leg_faults(rule: Rule, legs: Sequence[Leg]) -> Fault | None:
    names = [leg.name for leg in legs]
    for key in ("before", "when", "unless"):
        for name in getattr(rule, key) or ():
            if name not in names:
                return key, unknown_leg(name, names)
    if rule.before and len(set(rule.before)) < len(rule.before):
        return "before", "names a leg twice: name each leg once"
    if rule.comparison:
        kind, texts = rule.comparison
        for text in texts:
            if fault := expression_fault(text, names):
                return kind, fault
        if not list(rule.reads()):
            return kind, "both sides are numbers: read a leg on one side"
    return _sequence_fault(rule, legs) if rule.sequence else None


def _sequence_fault(rule: Rule, legs: Sequence[Leg]) -> Fault | None:
    text = rule.sequence or ""
    if fault := expression_fault(text, [leg.name for leg in legs]):
        return "sequence", fault
    field = parse(text)
    parts = [leg.name for leg in legs if leg.many]
    if not isinstance(field, Field) or field.leg not in parts:
        known = f"use one of {', '.join(parts)}" if parts else "give a leg many = true and an id"
        return "sequence", f"{text!r} must be leg.field of a leg with many = true: {known}"
    return None


def _currency_fault(rule: Rule, legs: Sequence[Leg]) -> Fault | None:
    if rule.in_currency is None:
        return None
    if code_of(rule.in_currency) != rule.in_currency:
        try:
            is_field = isinstance(parse(rule.in_currency), Field)
        except ExpressionError:
            is_field = False
        fault = expression_fault(rule.in_currency, [leg.name for leg in legs]) if is_field else "no field"
        if fault:
            return "in_currency", f"{rule.in_currency!r} must be a code such as EUR, or leg.field of a leg of this flow"
    read = {leg for leg, path in rule.reads() if path}
    if not any(leg.currency for leg in legs if leg.name in read):
        choice = " or ".join(sorted(read))
        return "in_currency", f'no leg of the rule says its currency: add currency = "currency" to {choice}'
    return None
