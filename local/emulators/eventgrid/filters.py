"""The filters of a subscription: Microsoft's "Filter events when creating Event Grid subscriptions"."""

import operator
from collections.abc import Callable
from typing import Any

import msgspec

from local.emulators.eventgrid import schemas
from local.emulators.eventgrid.schemas import Event
from local.emulators.eventgrid.subscription import AdvancedFilter, Filter

Predicate = Callable[[Event], bool]
_Test = Callable[[Any, Any], bool]
"""Compares a field's value with one value of the filter."""

_MISSING = object()


def _numbers(compare: _Test) -> _Test:
    def test(value: Any, expected: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and bool(compare(value, expected))

    return test


def _strings(compare: _Test) -> _Test:
    """String comparisons of advanced filters always ignore case."""

    def test(value: Any, expected: Any) -> bool:
        return isinstance(value, str) and bool(compare(value.casefold(), str(expected).casefold()))

    return test


_in_range = _numbers(lambda value, limits: limits[0] <= value <= limits[1])

_ANY: dict[str, _Test] = {
    "NumberIn": _numbers(operator.eq),
    "NumberLessThan": _numbers(operator.lt),
    "NumberLessThanOrEquals": _numbers(operator.le),
    "NumberGreaterThan": _numbers(operator.gt),
    "NumberGreaterThanOrEquals": _numbers(operator.ge),
    "NumberInRange": _in_range,
    "BoolEquals": lambda value, expected: isinstance(value, bool) and value == expected,
    "StringIn": _strings(operator.eq),
    "StringContains": _strings(operator.contains),
    "StringBeginsWith": _strings(str.startswith),
    "StringEndsWith": _strings(str.endswith),
}
"""Operators that match when any of the values matches."""

_NONE: dict[str, _Test] = {
    "NumberNotIn": _ANY["NumberIn"],
    "NumberNotInRange": _in_range,
    "StringNotIn": _ANY["StringIn"],
    "StringNotContains": _ANY["StringContains"],
    "StringNotBeginsWith": _ANY["StringBeginsWith"],
    "StringNotEndsWith": _ANY["StringEndsWith"],
}
"""Operators that match when none of the values matches, and so also when the field is missing."""

_NO_VALUES: dict[str, Callable[[Any], bool]] = {
    "IsNullOrUndefined": lambda value: value is _MISSING or value is None,
    "IsNotNull": lambda value: value is not _MISSING and value is not None,
}


def compile_filter(settings: Filter) -> Predicate:
    """A function that returns whether an event meets all conditions of the filter.

    Raises:
        ValueError: the filter has an unknown operator, or values of the wrong type.
    """
    types = frozenset(settings.included_event_types or ())
    if "All" in types:
        types = frozenset()
    fold: Callable[[str], str] = str if settings.is_subject_case_sensitive else str.casefold
    begin, end = fold(settings.subject_begins_with), fold(settings.subject_ends_with)
    conditions = [_condition(advanced) for advanced in settings.advanced_filters]

    def passes(event: Event) -> bool:
        if types and schemas.event_type(event) not in types:
            return False
        if begin or end:
            subject = fold(schemas.text(event, "subject") or "")
            if not (subject.startswith(begin) and subject.endswith(end)):
                return False
        return all(condition(event) for condition in conditions)

    return passes


def value_at(event: Event, path: str) -> Any:
    """The value of a field such as ``subject`` or ``data.order.id``; ``_MISSING`` when there is none."""
    head, *rest = path.split(".")
    names = {name.casefold(): name for name in event}  # Microsoft's own examples write both Data and data
    if head.casefold() not in names:
        return _MISSING
    try:
        value = msgspec.json.decode(event[names[head.casefold()]])
    except msgspec.DecodeError:
        return _MISSING  # valid JSON that no filter can compare, such as a number beyond the range of a float
    for step in rest:
        if not isinstance(value, dict) or step not in value:
            return _MISSING
        value = value[step]
    return value


def text_at(event: Event, path: str) -> str | None:
    """A string, number or boolean as text; None when the field is missing or of another type."""
    value = value_at(event, path)
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else None


def _condition(settings: AdvancedFilter) -> Predicate:
    name, path = settings.operator_type, settings.key
    if name in _NO_VALUES:
        holds = _NO_VALUES[name]
        return lambda event: holds(value_at(event, path))
    values = settings.values or ([] if settings.value is None else [settings.value])
    if name not in _ANY and name not in _NONE:
        known = ", ".join(sorted([*_ANY, *_NONE, *_NO_VALUES]))
        raise ValueError(f"unknown operatorType {name}; the known ones are {known}")
    if not values:
        raise ValueError(f"the advanced filter {name} on {path} has neither value nor values")
    _require_fit(name, values)
    if name in _ANY:
        fits = _ANY[name]
        return lambda event: any(fits(value_at(event, path), value) for value in values)
    clashes = _NONE[name]
    return lambda event: not any(clashes(value_at(event, path), value) for value in values)


def _require_fit(name: str, values: list[Any]) -> None:
    if name.endswith("InRange"):
        fit = all(isinstance(limits, list) and len(limits) == 2 and all(map(_is_number, limits)) for limits in values)  # noqa: PLR2004 - from, to
    elif name.startswith("Number"):
        fit = all(map(_is_number, values))
    elif name.startswith("Bool"):
        fit = all(isinstance(value, bool) for value in values)
    else:
        fit = all(isinstance(value, str) for value in values)
    if not fit:
        raise ValueError(f"the values {values} do not fit the operatorType {name}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
