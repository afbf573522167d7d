"""Exact arithmetic over amounts: ranges of decimals, and their conversion between currencies.

No operation rounds, so that a sum does not depend on the order of its terms.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Context, Decimal
from typing import Final, NamedTuple

from helios.reconciliation.rule import Comparison, Rate

_EXACT: Final = Context(prec=200)
"""An amount has at most 36 digits, a rate 27, a sum of 500 products three more than one product."""


class Range(NamedTuple):
    """Every value that contradictory deliveries allow; one value if nothing is contradictory."""

    low: Decimal
    high: Decimal

    def __str__(self) -> str:
        low, high = plain(self.low), plain(self.high)
        return low if low == high else f"{low} to {high}"


ZERO: Final = Range(Decimal(0), Decimal(0))


def plain(value: Decimal) -> str:
    """A number as text, without an exponent and without zeros at its end."""
    return f"{_EXACT.normalize(value):f}"


def enclosing(values: Iterable[Decimal]) -> Range:
    """The range of at least one value."""
    ordered = sorted(values)
    return Range(ordered[0], ordered[-1])


def add(left: Range, right: Range, sign: int = 1) -> Range:
    """The sum of two ranges; their difference if ``sign`` is -1."""
    if sign < 0:
        right = Range(right.high.copy_negate(), right.low.copy_negate())
    return Range(_EXACT.add(left.low, right.low), _EXACT.add(left.high, right.high))


def holds(kind: Comparison, left: Range, right: Range, *, tolerance: Decimal, is_relative: bool) -> bool:
    """Whether a comparison holds for all values of two ranges.

    Args:
        kind: the comparison.
        left: the values on the left.
        right: the values on the right.
        tolerance: the allowed difference.
        is_relative: whether the tolerance is a share of the value on the left.
    """
    return all(_holds(kind, a, b, tolerance, is_relative=is_relative) for a in left for b in right)


def _holds(kind: Comparison, left: Decimal, right: Decimal, tolerance: Decimal, *, is_relative: bool) -> bool:
    allowed = _EXACT.multiply(left.copy_abs(), tolerance) if is_relative else tolerance
    difference = _EXACT.subtract(left, right)
    if kind == "equal":
        return difference.copy_abs() <= allowed
    return (difference if kind == "at_most" else difference.copy_negate()) <= allowed


class Rates:
    """A table of exchange rates, prepared once."""

    def __init__(self, rates: Sequence[Rate]) -> None:
        """Take the rates in any order."""
        self._rates: dict[tuple[str, str], list[tuple[date, Decimal]]] = defaultdict(list)
        for rate in rates:
            self._rates[rate.currency, rate.to].append((rate.since or date.min, Decimal(rate.rate)))
        for dated in self._rates.values():
            dated.sort()

    def convert(self, amount: Decimal, currency: str, to: str, on: date) -> Decimal | None:
        """The amount in another currency at the rate of a day; None if the table has no rate for it."""
        if currency == to:
            return amount
        dated = self._rates.get((currency, to), [])
        index = bisect_right(dated, on, key=lambda rate: rate[0])
        return _EXACT.multiply(amount, dated[index - 1][1]) if index else None
