"""The rules by which a field of a payload is found and read. Events and flows use the same ones."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from helios.errors import UNREADABLE
from helios.model.events import MAX_ID_CHARS

_NUMBER_CHARS: Final = 40
_NUMBER_DIGITS: Final = 18
"""Numbers that are longer or larger are not amounts: they are compared as texts, and added to no sum."""

_string = msgspec.json.Decoder(str)


def value_of(data: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """The value of a field under the first of its names that has one: null and "" are none.

    Serializers write null for a field that is not set, beside the field that is.
    """
    for name in names:
        value = data.get(name)
        if value is not None and value != "":
            return value
    return None


def value_at(data: Any, path: tuple[tuple[str, ...], ...]) -> Any:
    """The value at a path, whose steps are ``spellings``; None if there is none."""
    for names in path:
        if not isinstance(data, dict):
            return None
        data = value_of(data, names)
    return data


def reference(value: Any) -> str | None:
    """A business id that was sent as text or as a whole number; None for anything else, and for a longer one."""
    if isinstance(value, Decimal):
        whole = value.is_finite() and -_NUMBER_CHARS < value.adjusted() < _NUMBER_CHARS and value == int(value)
        value = int(value) if whole else None
    if type(value) not in {str, int}:
        return None
    text = str(value)
    return text if 0 < len(text) <= MAX_ID_CHARS else None


def decimal(text: str) -> Decimal | None:
    """A JSON number with its exact value; None if its exponent has more digits than Python's decimals can have."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def number(text: str) -> Decimal | None:
    """The number in a text; None if it is not a number, or longer or larger than any amount."""
    # Decimal also reads 1_000 and the digits of other scripts, which are numbers in no contract.
    if len(text) > _NUMBER_CHARS or "_" in text or not text.isascii():
        return None
    value = decimal(text)
    if value is None or not value.is_finite() or not -_NUMBER_DIGITS < value.adjusted() < _NUMBER_DIGITS:
        return None
    return value


def inner_json(data: bytes) -> bytes | None:
    """The JSON object that a payload contains as a string, as producers write it who serialize twice; else None."""
    if not data.startswith(b'"'):
        return None
    try:
        text = _string.decode(data).strip()
    except UNREADABLE:
        return None
    return text.encode() if text.startswith("{") else None
