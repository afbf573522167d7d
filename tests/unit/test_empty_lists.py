"""What a person sees who lists what is not there, and of parts that a demo does not run."""

from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Iterator

from helios.__main__ import parser
from helios.cli.listing import write_rows
from local.demo.stats import Stats, line


def test_an_empty_list_says_so(capsys):
    write_rows(iter(()), none="There is no replay job.")
    assert capsys.readouterr().out == "There is no replay job.\n"


def test_a_list_has_a_line_for_each_row(capsys):
    write_rows(iter(["1", "2"]), none="There is no replay job.")
    assert capsys.readouterr().out == "1\n2\n"


def commands(parser: ArgumentParser) -> Iterator[ArgumentParser]:
    """The parser of each command, and of each of its own."""
    yield parser
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            for command in action.choices.values():
                yield from commands(command)


def test_the_help_fits_into_80_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    too_long = [text for command in commands(parser()) for text in command.format_help().splitlines() if len(text) > 80]
    assert too_long == []


def test_the_line_of_the_demo_leaves_out_what_it_does_not_run():
    stats = Stats(
        total_events=1,
        events_by_source={"aws": 1},
        duplicates=0,
        contradictory=0,
        rejected=0,
        health={"database": "healthy", "log": "disabled", "kafka": "degraded"},
    )
    assert line(stats, 0.0, {}).endswith("; database healthy, kafka degraded")
