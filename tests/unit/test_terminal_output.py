"""Text of a sender never controls the terminal of an operator."""

import ast
import json
import time
from pathlib import Path

import msgspec
import pytest

import helios.__main__
import helios.cli
from tests.support.listener import listening

OSC = "\x1b]0;owned\x07"
CSI = "\x1b[2J\x1b[31m"
C1 = "\x9b31m\x9d0;owned\x9c"
BIDI = "\u202e"
LINK = "[link=http://evil.example]click[/link]"
CLOSING_TAG = "[/nope]"
EMOJI_CODE = ":pile_of_poo:"
HOSTILE = f"{OSC}{CSI}{C1}{BIDI}\r\x7f{LINK}{CLOSING_TAG}{EMOJI_CODE}"

TIME = "2026-01-31T12:00:00Z"
LEG = {
    "name": "order",
    "source": "aws",
    "type": "OrderPlaced",
    "optional": False,
    "state": "present",
    "parts": 1,
    "expected": 1,
    "event_id": "1",
    "producer": HOSTILE,
    "time": TIME,
    "received_at": TIME,
    "fields": {HOSTILE: HOSTILE},
    "deliveries": 1,
}
ISSUE = {"kind": "mismatch", "legs": ["order"], "field": "x", "values": {}, "detail": HOSTILE}
FLOW = {
    "flow": "order",
    "key": HOSTILE,
    "status": "mismatched",
    "amount": None,
    "currency": HOSTILE,
    "opened_at": TIME,
    "deadline": TIME,
    "settled_at": None,
    "updated_at": TIME,
    "time_to_match_seconds": None,
    "legs": [LEG],
    "issues": [ISSUE],
}
DETAILS = FLOW | {"events": [], "timeline": [{"at": TIME, "what": "leg", "leg": "order", "detail": HOSTILE}]}
EVENT = {
    "source": "aws",
    "id": HOSTILE,
    "type": HOSTILE,
    "producer": HOSTILE,
    "time": TIME,
    "received_at": TIME,
    "order_id": HOSTILE,
    "customer_id": HOSTILE,
    "amount": None,
    "digest": "0" * 16,
    "data": {HOSTILE: HOSTILE},
}
GROUP = {
    "source": "aws",
    "field": HOSTILE,
    "reason": HOSTILE,
    "status": "rejected",
    "count": 1,
    "first": TIME,
    "last": TIME,
    "example_id": 1,
}
DEAD_LETTER = {
    "id": 1,
    "source": "aws",
    "channel": "eventbridge",
    "status": "rejected",
    "field": HOSTILE,
    "reason": HOSTILE,
    "attempts": 1,
    "first_received_at": TIME,
    "last_received_at": TIME,
    "headers": {},
    "body": HOSTILE,
    "body_bytes": len(HOSTILE),
}
JOB = {
    "id": 1,
    "what": "events",
    "target": {"kind": "webhook", "url": f"https://h/{HOSTILE}"},
    "filter": {},
    "per_second": 1,
    "state": "failed",
    "actor": HOSTILE,
    "created_at": TIME,
    "until": TIME,
    "matching": 1,
    "sent": 0,
    "failed": 1,
    "skipped": 0,
    "last_error": HOSTILE,
}


def page(item: dict) -> dict:
    return {"items": [item], "next_cursor": None}


COMMANDS = {
    "flows": page(FLOW),
    "flow X": DETAILS,
    "events": page(EVENT),
    "dead-letters list": [GROUP],
    "replay list": page(JOB),
    "replay show 1": JOB,
}
JSON_COMMANDS = COMMANDS | {"dead-letters list": page(DEAD_LETTER)}


def assert_harmless(text: str) -> None:
    """Every character can be printed, and no line is a sender's."""
    assert [character for character in text if not character.isprintable() and character != "\n"] == []


def run(command: str, answer: object, *, status: int = 200) -> int:
    with listening(status, {"content-type": "application/json"}, json.dumps(answer).encode()) as url:
        return helios.__main__.main([*command.split(), "--url", url])


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    """A terminal that shows colours and links, and is wide enough for every column."""
    monkeypatch.setenv("COLUMNS", "4000")
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_table_shows_control_characters_and_markup_as_plain_text(command, capsys):
    """Keys of payloads are the heads of columns, so that heads are a sender's text too."""
    assert run(command, COMMANDS[command]) == 0

    output = capsys.readouterr()
    assert_harmless(output.out + output.err)
    assert "owned" in output.out
    assert CLOSING_TAG in output.out
    assert LINK in output.out
    assert EMOJI_CODE in output.out


@pytest.mark.parametrize("command", JSON_COMMANDS)
def test_json_lines_escape_what_json_may_leave_as_it_is(command, capsys):
    """JSON escapes ESC but not U+009B, which begins the same sequences. The decoded value stays the same."""
    assert run(f"{command} --json", JSON_COMMANDS[command]) == 0

    (line,) = capsys.readouterr().out.splitlines()
    assert_harmless(line)
    assert json.dumps(HOSTILE) in json.dumps(msgspec.json.decode(line))


@pytest.mark.parametrize("command", [*COMMANDS, "replay cancel 1", "replay start --to-watchers"])
def test_an_error_of_the_api_is_printed_as_plain_text(command, capsys):
    """The API repeats parts of a delivery in its problem details."""
    problem = {"detail": HOSTILE, "errors": [{"field": HOSTILE, "reason": HOSTILE}]}
    assert run(command, problem, status=404) == 2

    errors = capsys.readouterr().err
    assert_harmless(errors)
    assert CLOSING_TAG in errors


def test_the_reason_why_a_dead_letter_is_refused_is_printed_as_plain_text(capsys, monkeypatch):
    """The reason may repeat the topic that the sender named."""
    monkeypatch.setattr(time, "sleep", lambda _: None)
    assert run("dead-letters replay 7", {"detail": HOSTILE}, status=422) == 0

    output = capsys.readouterr()
    assert_harmless(output.out + output.err)
    assert "dead letter 7" in output.err


def test_a_line_break_of_a_sender_begins_no_line(capsys):
    """Otherwise a sender could imitate a line of the command line itself."""
    assert run("flow X", {"detail": "x\nhelios: all done"}, status=404) == 2

    assert len(capsys.readouterr().err.splitlines()) == 1


def test_only_the_module_for_terminals_writes_to_the_terminal():
    """A command that wrote by another way could forget to replace control characters."""
    modules = [*Path(helios.cli.__file__).parent.glob("*.py"), Path(helios.__main__.__file__)]
    writers = {
        module.name
        for module in modules
        for node in ast.walk(ast.parse(module.read_text()))
        if (isinstance(node, ast.Call) and ast.unparse(node.func) in {"print", "sys.stdout.write", "sys.stderr.write"})
        or (isinstance(node, ast.ImportFrom) and node.module == "sys")
    }

    assert writers == {"terminal.py"}
