"""Every command reads and prints a time in the same way."""

import argparse
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from helios.cli import dead_letters, recompute, replay, tables, times
from helios.cli.times import utc_text
from helios.model.stream import FlowChange

COMMANDS = {
    "recompute": [],
    "dead-letters replay": ["--all"],
    "replay start": ["--to-watchers"],
}


@pytest.fixture
def local_time_is_not_utc(monkeypatch):
    """A machine whose local time is not UTC."""
    with monkeypatch.context() as environment:
        environment.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


def parser() -> argparse.ArgumentParser:
    commands = argparse.ArgumentParser(prog="helios")
    actions = commands.add_subparsers()
    for module in (dead_letters, recompute, replay):
        module.register(actions)
    return commands


@pytest.mark.usefixtures("local_time_is_not_utc")
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", ["since", "until"])
@pytest.mark.parametrize(
    "text", ["2026-01-31T12:00:00", "2026-01-31T12:00:00Z", "2026-01-31T13:00:00+01:00", "2026-01-31 12:00"]
)
def test_a_time_without_an_offset_is_utc(command, option, text):
    moment = getattr(parser().parse_args([*command.split(), *COMMANDS[command], f"--{option}", text]), option)

    assert (moment, moment.tzinfo) == (datetime(2026, 1, 31, 12, tzinfo=UTC), UTC)


@pytest.mark.usefixtures("local_time_is_not_utc")
@pytest.mark.parametrize("hours", [0, 1, -5])
def test_a_time_is_printed_in_utc_with_its_offset(hours):
    """On every machine, and in the form that ``--since`` reads."""
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC).astimezone(timezone(timedelta(hours=hours)))

    assert utc_text(noon) == "2026-01-31T12:00:00Z"
    assert times.moment(utc_text(noon)) == noon


@pytest.mark.usefixtures("local_time_is_not_utc")
def test_tables_print_times_in_utc():
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    change = FlowChange(flow="order", key="ORD-1", status="open", previous=None, issues=[], amount=None, opened_at=noon)

    assert tables.line(change).startswith("2026-01-31T12:00:00Z  order  ORD-1")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("text", ["noon", "", "2026-02-30", "0001-01-01T00:00:00+01:00"])
def test_an_invalid_time_is_refused_with_an_example(command, text, capsys):
    with pytest.raises(SystemExit):
        parser().parse_args([*command.split(), *COMMANDS[command], "--since", text])

    assert f"{text!r} is not a time such as 2026-01-31T12:00:00Z" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_says_that_a_time_without_an_offset_is_utc(command, capsys):
    with pytest.raises(SystemExit):
        parser().parse_args([*command.split(), "--help"])

    assert " ".join(capsys.readouterr().out.split()).count("UTC unless it has another offset") == 2
