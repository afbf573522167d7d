"""Lists are readable in a terminal of 80 columns, and every command that lists prints JSON lines and CSV."""

import argparse
import csv
import io
import json
import re
from typing import Any

import pytest

import helios.__main__
from tests.support.listener import listening

TIME = "2026-01-31T12:00:00Z"
KEY = "ORD-1795919577197-3084"
UUID = "0f9c2e6a-3b1d-4c5e-8f70-9a1b2c3d4e5f"
LEG = {
    "name": "payment",
    "source": "azure",
    "type": "PaymentProcessed",
    "optional": False,
    "state": "present",
    "parts": 1,
    "expected": 1,
    "event_id": UUID,
    "producer": "urn:shop",
    "time": TIME,
    "received_at": TIME,
    "fields": {"amount": "1474.65", "currency": "EUR", "customer_id": "CUST-20391"},
    "deliveries": 12,
}
ISSUE = "amount: AWS ordered 1474.9, GCP charged 1474.65, and Azure reserved stock for 1474.9 of EUR"
FLOW: dict[str, Any] = {
    "flow": "order",
    "key": KEY,
    "status": "mismatched",
    "amount": "1474.90",
    "currency": "EUR",
    "opened_at": TIME,
    "deadline": TIME,
    "settled_at": None,
    "updated_at": TIME,
    "time_to_match_seconds": None,
    "legs": [LEG],
    "issues": [{"kind": "mismatch", "legs": ["order"], "field": "amount", "values": {}, "detail": ISSUE}],
}
EVENT = {
    "source": "azure",
    "producer": "/subscriptions/1/resourceGroups/shop/providers/Microsoft.EventGrid/topics/helios",
    "id": UUID,
    "type": "InventoryReserved",
    "origin": None,
    "time": TIME,
    "received_at": TIME,
    "order_id": KEY,
    "customer_id": "CUST-20391",
    "amount": "1474.90",
    "digest": "0" * 16,
    "data": {"order_id": KEY, "note": 'a "quoted", text'},
}
DEAD_LETTER = {
    "id": 7,
    "source": "gcp",
    "channel": "pubsub",
    "status": "rejected",
    "field": "data",
    "reason": "is missing",
    "attempts": 2,
    "first_received_at": TIME,
    "last_received_at": TIME,
    "headers": {},
    "body": "{}",
    "body_bytes": 2,
}
JOB = {
    "id": 3,
    "what": "events",
    "target": {"kind": "relay"},
    "filter": {},
    "per_second": 100,
    "state": "done",
    "actor": "local",
    "created_at": TIME,
    "until": TIME,
    "matching": 5,
    "sent": 5,
    "failed": 0,
    "skipped": 0,
}
DETAILS = FLOW | {"events": [], "timeline": [{"at": TIME, "what": "leg", "leg": "payment", "detail": ISSUE}]}
LISTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "flows": (FLOW, "key", KEY),
    "events": (EVENT, "id", UUID),
    "dead-letters list": (DEAD_LETTER, "id", "7"),
    "replay list": (JOB, "id", "3"),
}


def run(capsys, command: str, answer: object) -> str:
    with listening(200, {"content-type": "application/json"}, json.dumps(answer).encode()) as url:
        assert helios.__main__.main([*command.split(), "--url", url]) == 0
    return capsys.readouterr().out


def page(item: object) -> dict[str, object]:
    return {"items": [item], "next_cursor": None}


@pytest.mark.parametrize(
    ("command", "answer", "words"),
    [
        ("flows", page(FLOW), [KEY, "1474.90 EUR"]),
        ("events", page(EVENT), [KEY, UUID, "InventoryReserved", "CUST-20391", "1474.90"]),
        (f"flow {KEY}", DETAILS, [KEY, "payment", "present", "customer_id CUST-20391", "1474.65"]),
    ],
)
def test_nothing_is_cut_or_broken_at_80_columns(command, answer, words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    output = run(capsys, command, answer)
    assert max(map(len, output.splitlines())) <= 80
    assert "…" not in output
    for word in words:
        assert word in output
    if "issues" in answer or command == "flows":
        assert ISSUE in re.sub(r"\s+", " ", output)


@pytest.mark.parametrize("command", LISTS)
def test_csv_has_a_line_of_names_and_a_line_for_each_item(command, capsys):
    item, name, value = LISTS[command]
    (row,) = csv.DictReader(io.StringIO(run(capsys, f"{command} --csv", page(item))))
    assert row[name] == value
    for field, cell in row.items():
        if isinstance(item.get(field), (dict, list)):
            assert type(json.loads(cell)) is type(item[field])


@pytest.mark.parametrize("command", LISTS)
def test_csv_of_nothing_is_the_line_of_names(command, capsys):
    (names,) = csv.reader(io.StringIO(run(capsys, f"{command} --csv", {"items": [], "next_cursor": None})))
    assert LISTS[command][1] in names


def test_control_characters_of_a_sender_are_replaced(capsys):
    output = run(capsys, "events --csv", page(EVENT | {"id": "a\x1b[2Jb\nc"}))
    assert len(output.splitlines()) == 2
    assert "\x1b" not in output


@pytest.mark.parametrize("command", LISTS)
def test_one_format_at_a_time(command, capsys):
    with pytest.raises(SystemExit):
        helios.__main__.main([*command.split(), "--json", "--csv"])
    assert "not allowed with argument" in capsys.readouterr().err


def test_every_command_that_lists_has_both_formats():
    """A command without an action that lists is named here; any action named ``list`` is found."""
    lists = {path: parser for path, parser in parsers() if path[-1] == "list" or path in LISTING}

    assert lists.keys() >= LISTING
    assert {path for path, parser in lists.items() if {"--json", "--csv"} <= options_of(parser)} == lists.keys()


LISTING = {("flows",), ("events",), ("preview",), ("query",), ("recompute",), ("cost",)}


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    return {option for action in parser._actions for option in action.option_strings}


def parsers() -> list[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """Every command and action, by its words."""

    def below(parser: argparse.ArgumentParser, words: tuple[str, ...]):
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for name, sub in action.choices.items():
                    yield (*words, name), sub
                    yield from below(sub, (*words, name))

    return list(below(helios.__main__.parser(), ()))
