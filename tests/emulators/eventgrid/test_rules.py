"""The parts that need no running emulator: filters, the retry schedule, the journal."""

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


def passes(condition: dict[str, Any], event: dict[str, Any] = EVENT) -> bool:
    fields = {name: Raw(msgspec.json.encode(value)) for name, value in event.items()}
    return filters.compile_filter(msgspec.convert(condition, Filter))(fields)


@pytest.mark.parametrize(
    ("condition", "expected"),
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
def test_a_filter_selects_types_and_subjects(condition: dict[str, Any], expected: bool):
    assert passes(condition) is expected


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
def test_an_advanced_filter_compares_a_field(operator: str, key: str, values: list[Any], expected: bool):
    assert passes({"advancedFilters": [{"operatorType": operator, "key": key, "values": values}]}) is expected


def test_all_advanced_filters_must_match():
    matching = {"operatorType": "NumberIn", "key": "data.quantity", "values": [5]}
    failing = {"operatorType": "StringIn", "key": "id", "values": ["2"]}
    assert (passes({"advancedFilters": [matching, matching]}), passes({"advancedFilters": [matching, failing]})) == (
        True,
        False,
    )


def test_a_number_beyond_the_range_of_floats_matches_no_comparison():
    fields = {"id": Raw(b'"1"'), "data": Raw(b'{"n": 1e400}')}
    condition = {"advancedFilters": [{"operatorType": "NumberGreaterThan", "key": "data.n", "value": 1}]}
    assert filters.compile_filter(msgspec.convert(condition, Filter))(fields) is False


@pytest.mark.parametrize(
    "condition",
    [
        {"operatorType": "NumberAlmost", "key": "id", "values": [1]},
        {"operatorType": "NumberIn", "key": "id", "values": ["1"]},
        {"operatorType": "NumberIn", "key": "id"},
        {"operatorType": "NumberInRange", "key": "id", "values": [1, 2]},
        {"operatorType": "StringIn", "key": "id", "values": [1]},
    ],
)
def test_an_invalid_filter_is_refused(condition: dict[str, Any]):
    with pytest.raises(ValueError, match=r"operatorType|neither"):
        passes({"advancedFilters": [condition]})


def wait(status: int | None, attempts: int) -> float:
    step = retry.after_failure(status, attempts, RetryPolicy())
    assert isinstance(step, RetryAfter)
    return step.seconds


@pytest.mark.parametrize(
    ("attempts", "seconds"),
    list(enumerate((10, 30, 60, 300, 600, 1800, 3600, 10_800, 21_600, 43_200, 43_200, 43_200), start=1)),
)
def test_the_retry_schedule_is_the_vendor_s(attempts: int, seconds: float):
    assert seconds <= wait(500, attempts) <= seconds * 1.1


@pytest.mark.parametrize(("status", "least"), [(None, 10), (404, 10), (408, 120), (503, 30)])
def test_some_failures_have_a_longer_delay(status: int | None, least: float):
    assert least <= wait(status, 1) <= least * 1.1


def test_an_event_is_given_up_after_thirty_attempts():
    assert isinstance(retry.after_failure(500, 29, RetryPolicy()), RetryAfter)
    assert retry.after_failure(500, 30, RetryPolicy()) == GiveUp("MaxDeliveryAttemptsExceeded")


def test_the_default_time_to_live_is_a_day():
    assert retry.expired(0, 86_400, RetryPolicy(), 1.0) is None
    assert retry.expired(0, 86_401, RetryPolicy(), 1.0) == GiveUp("TimeToLiveExceeded")


def test_a_journal_restores_the_events_that_are_not_settled(tmp_path: Path):
    journal = PendingEvents(tmp_path / "j")
    journal.add([b'"a"', b'"b"', b'"c"'], 1.0)
    journal.settle([1])
    journal.close()
    reopened = PendingEvents(tmp_path / "j")
    assert [(pending.number, bytes(pending.event)) for pending in reopened.events.values()] == [
        (0, b'"a"'),
        (2, b'"c"'),
    ]
    assert [pending.number for pending in reopened.add([b'"d"'], 2.0)] == [3]
    reopened.close()


@pytest.mark.parametrize("cut", [1, 3, 5, 9])
def test_a_journal_with_a_partial_last_record_restores_the_records_before_it(tmp_path: Path, cut: int):
    path = tmp_path / "j"
    journal = PendingEvents(path)
    journal.add([b'"whole"'], 1.0)
    size = path.stat().st_size
    journal.add([b'"partial"'], 1.0)
    journal.close()
    with path.open("r+b") as file:
        file.truncate(size + cut)
    reopened = PendingEvents(path)
    assert [bytes(pending.event) for pending in reopened.events.values()] == [b'"whole"']
    reopened.close()


def test_a_journal_does_not_grow_with_delivered_events(tmp_path: Path):
    path = tmp_path / "j"
    journal = PendingEvents(path)
    for _ in range(200):
        added = journal.add([b'"' + b"x" * 100_000 + b'"'], 1.0)
        journal.settle([pending.number for pending in added])
    journal.close()
    assert path.stat().st_size < 5_000_000
