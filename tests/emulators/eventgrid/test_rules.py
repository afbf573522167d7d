"""The rules that need no emulator: filters, the retry schedule, the journal."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from local.emulators.eventgrid import filters, retry
from local.emulators.eventgrid.journal import PendingEvents
from local.emulators.eventgrid.retry import GiveUp, RetryAfter
from local.emulators.eventgrid.subscription import Filter, RetryPolicy

EVENT = {
    "id": "1",
    "subject": "Orders/EU/42",
    "eventType": "InventoryReserved",
    "dataVersion": "1.0",
    "data": {"quantity": 5, "express": True, "customer": {"tier": "Gold"}, "note": None, "huge": 1},
}


def passes(wanted: dict[str, Any], event: dict[str, Any] = EVENT) -> bool:
    fields = {name: Raw(msgspec.json.encode(value)) for name, value in event.items()}
    return filters.compile_filter(msgspec.convert(wanted, Filter))(fields)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, True),
        ({"includedEventTypes": ["InventoryReserved", "Other"]}, True),
        ({"includedEventTypes": ["inventoryreserved"]}, False),
        ({"includedEventTypes": ["All"]}, True),
        ({"includedEventTypes": []}, True),
        ({"subjectBeginsWith": "orders/eu"}, True),
        ({"subjectBeginsWith": "orders/eu", "isSubjectCaseSensitive": True}, False),
        ({"subjectEndsWith": "/42", "isSubjectCaseSensitive": True}, True),
        ({"subjectBeginsWith": "Orders", "subjectEndsWith": "/43"}, False),
    ],
)
def test_types_and_subjects(wanted: dict[str, Any], expected: bool):
    assert passes(wanted) is expected


@pytest.mark.parametrize(
    ("operator", "key", "values", "expected"),
    [
        ("NumberIn", "data.quantity", [4, 5], True),
        ("NumberNotIn", "data.quantity", [4, 5], False),
        ("NumberNotIn", "data.missing", [4, 5], True),
        ("NumberGreaterThan", "data.quantity", [4], True),
        ("NumberGreaterThanOrEquals", "Data.quantity", [5], True),
        ("NumberLessThan", "data.quantity", [5], False),
        ("NumberLessThanOrEquals", "data.quantity", [5], True),
        ("NumberInRange", "data.quantity", [[1, 3], [5, 9]], True),
        ("NumberNotInRange", "data.quantity", [[1, 3]], True),
        ("NumberIn", "data.express", [1], False),
        ("BoolEquals", "data.express", [True], True),
        ("BoolEquals", "data.quantity", [True], False),
        ("StringIn", "data.customer.tier", ["gold"], True),
        ("StringNotIn", "data.customer.tier", ["gold"], False),
        ("StringBeginsWith", "Subject", ["orders/"], True),
        ("StringEndsWith", "subject", ["/42", "/43"], True),
        ("StringContains", "subject", ["/eu/"], True),
        ("StringNotContains", "subject", ["/us/"], True),
        ("StringIn", "data.quantity", ["5"], False),
        ("IsNullOrUndefined", "data.note", [], True),
        ("IsNullOrUndefined", "data.missing", [], True),
        ("IsNotNull", "data.quantity", [], True),
    ],
)
def test_advanced_filters(operator: str, key: str, values: list[Any], expected: bool):
    assert passes({"advancedFilters": [{"operatorType": operator, "key": key, "values": values}]}) is expected


def test_all_advanced_filters_must_hold():
    one = {"operatorType": "NumberIn", "key": "data.quantity", "values": [5]}
    other = {"operatorType": "StringIn", "key": "id", "values": ["2"]}
    assert (passes({"advancedFilters": [one, one]}), passes({"advancedFilters": [one, other]})) == (True, False)


def test_a_number_beyond_any_float_passes_no_comparison():
    fields = {"id": Raw(b'"1"'), "data": Raw(b'{"n": 1e400}')}
    wanted = {"advancedFilters": [{"operatorType": "NumberGreaterThan", "key": "data.n", "value": 1}]}
    assert filters.compile_filter(msgspec.convert(wanted, Filter))(fields) is False


@pytest.mark.parametrize(
    "wanted",
    [
        {"operatorType": "NumberAlmost", "key": "id", "values": [1]},
        {"operatorType": "NumberIn", "key": "id", "values": ["1"]},
        {"operatorType": "NumberIn", "key": "id"},
        {"operatorType": "NumberInRange", "key": "id", "values": [1, 2]},
        {"operatorType": "StringIn", "key": "id", "values": [1]},
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(wanted: dict[str, Any]):
    with pytest.raises(ValueError, match=r"operatorType|neither"):
        passes({"advancedFilters": [wanted]})


def wait(status: int | None, attempts: int) -> float:
    step = retry.after_failure(status, attempts, RetryPolicy())
    assert isinstance(step, RetryAfter)
    return step.seconds


@pytest.mark.parametrize(
    ("attempts", "seconds"),
    list(enumerate((10, 30, 60, 300, 600, 1800, 3600, 10_800, 21_600, 43_200, 43_200, 43_200), start=1)),
)
def test_the_schedule_is_the_vendors(attempts: int, seconds: float):
    assert seconds <= wait(500, attempts) <= seconds * 1.1


@pytest.mark.parametrize(("status", "least"), [(None, 10), (404, 10), (408, 120), (503, 30)])
def test_some_failures_wait_longer(status: int | None, least: float):
    assert least <= wait(status, 1) <= least * 1.1


def test_thirty_attempts_are_the_end():
    assert isinstance(retry.after_failure(500, 29, RetryPolicy()), RetryAfter)
    assert retry.after_failure(500, 30, RetryPolicy()) == GiveUp("MaxDeliveryAttemptsExceeded")


def test_a_day_is_the_time_to_live():
    assert retry.expired(0, 86_400, RetryPolicy(), 1.0) is None
    assert retry.expired(0, 86_401, RetryPolicy(), 1.0) == GiveUp("TimeToLiveExceeded")


def test_a_journal_remembers_what_is_not_settled(tmp_path: Path):
    journal = PendingEvents(tmp_path / "j")
    journal.add([b'"a"', b'"b"', b'"c"'], 1.0)
    journal.settle([1])
    journal.close()
    reopened = PendingEvents(tmp_path / "j")
    assert [(one.number, bytes(one.event)) for one in reopened.events.values()] == [(0, b'"a"'), (2, b'"c"')]
    assert [one.number for one in reopened.add([b'"d"'], 2.0)] == [3]
    reopened.close()


@pytest.mark.parametrize("cut", [1, 3, 5, 9])
def test_a_journal_cut_off_in_mid_write_keeps_what_came_before(tmp_path: Path, cut: int):
    path = tmp_path / "j"
    journal = PendingEvents(path)
    journal.add([b'"whole"'], 1.0)
    size = path.stat().st_size
    journal.add([b'"torn"'], 1.0)
    journal.close()
    with path.open("r+b") as file:
        file.truncate(size + cut)
    reopened = PendingEvents(path)
    assert [bytes(one.event) for one in reopened.events.values()] == [b'"whole"']
    reopened.close()


def test_a_journal_does_not_grow_with_what_was_delivered(tmp_path: Path):
    path = tmp_path / "j"
    journal = PendingEvents(path)
    for _ in range(200):
        added = journal.add([b'"' + b"x" * 100_000 + b'"'], 1.0)
        journal.settle([one.number for one in added])
    journal.close()
    assert path.stat().st_size < 5_000_000
