"""Finds the values in a payload that a declaration names: the order, the customer, the amount and the currency."""

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from helios.model.sources import Paths, SourceDeclaration

ZERO_DECIMAL: Final = frozenset(
    "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split()  # noqa: SIM905 - one line
)
THREE_DECIMAL: Final = frozenset("BHD IQD JOD KWD LYD OMR TND".split())  # noqa: SIM905 - as above
"""The currencies whose smallest unit is not a hundredth (ISO 4217, "Minor unit")."""

MAX_DIGITS: Final = 40
"""A number with more digits is no amount, and slow to write out."""

ORDER, CUSTOMER, AMOUNT, CURRENCY = "order_id", "customer_id", "amount", "currency"
"""The names of these values in flows, whatever the payload calls them."""


class PayloadFields:
    """The paths of one declaration, prepared once."""

    def __init__(self, declaration: SourceDeclaration) -> None:
        """Take the paths."""
        self._paths: dict[str, list[list[str]]] = {
            name: [path.split(".") for path in _several(paths)]
            for name, paths in (
                (ORDER, declaration.order),
                (CUSTOMER, declaration.customer),
                (AMOUNT, declaration.amount),
                (CURRENCY, declaration.currency),
            )
            if paths
        }
        self._minor_units = declaration.minor_units

    def read(self, data: Any) -> dict[str, str]:
        """The values in a decoded payload, as text; those that it lacks are left out.

        Amounts are in the currency's main unit, and currencies in capital letters.
        """
        values = {name: text for name, paths in self._paths.items() if (text := _first(data, paths)) is not None}
        if CURRENCY in values:
            values[CURRENCY] = values[CURRENCY].upper()
        if self._minor_units and AMOUNT in values:
            values[AMOUNT] = _in_main_unit(values[AMOUNT], values.get(CURRENCY, ""))
        return values


def at(data: Any, steps: Sequence[str]) -> Any:
    """The value at a path; None if there is none. A number selects an element of an array."""
    for step in steps:
        if isinstance(data, Mapping):
            data = data.get(step)
        elif isinstance(data, list) and step.isdecimal() and int(step) < len(data):
            data = data[int(step)]
        else:
            return None
    return data


def as_text(value: Any) -> str | None:
    """A string or a number as text; None for anything else."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, bool):
        return None
    if isinstance(value, Decimal):
        return f"{value:f}" if abs(value.adjusted()) < MAX_DIGITS else str(value)
    return str(value) if isinstance(value, int | float) else None


def _first(data: Any, paths: Sequence[Sequence[str]]) -> str | None:
    return next((text for path in paths if (text := as_text(at(data, path))) is not None), None)


def _several(paths: Paths) -> Sequence[str]:
    return [paths] if isinstance(paths, str) else paths


def _in_main_unit(amount: str, currency: str) -> str:
    """``1099`` of USD as ``10.99``. An amount that is not a whole number, or without a currency, stays as it is."""
    if not (currency and amount.lstrip("-").isdecimal() and len(amount) <= MAX_DIGITS):
        return amount
    places = 0 if currency in ZERO_DECIMAL else 3 if currency in THREE_DECIMAL else 2
    try:
        return f"{Decimal(amount).scaleb(-places):f}"
    except InvalidOperation:
        return amount
