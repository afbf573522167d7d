"""What every command that lists has: ``--json`` and ``--csv`` for programs, instead of a table for people."""

import argparse
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec

from helios.cli.terminal import write_csv, write_json, write_line


def format_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--json`` and ``--csv`` to a command."""
    formats = parser.add_mutually_exclusive_group()
    formats.add_argument("--json", action="store_true", help="print JSON lines instead of a table")
    formats.add_argument(
        "--csv",
        action="store_true",
        help="print CSV with a line of names; a value that is a list or an object is JSON, and control characters are "
        "replaced",
    )


def add_filter(
    parser: argparse.ArgumentParser,
    option: str,
    choices: Collection[str],
    text: str,
    *,
    default: list[str] | None = None,
) -> None:
    """Add an option that takes one of some words, and may be repeated.

    The words are in its help and not in its usage, where a line of them does not wrap.
    """
    parser.add_argument(
        option,
        action="append",
        choices=choices,
        default=default,
        metavar=option.removeprefix("--").upper(),
        help=f"{text}; repeatable: {', '.join(choices)}",
    )


def write_for_programs(options: argparse.Namespace, items: Iterable[object], columns: Iterable[str]) -> bool:
    """Print the items as ``--json`` or ``--csv`` demands; returns False, and prints nothing, without either.

    Args:
        options: the parsed options of a command with ``format_options``.
        items: structs or mappings.
        columns: the names of their fields, in the order of the CSV's columns.
    """
    if options.json:
        for item in items:
            write_json(item)
    elif options.csv:
        names = list(columns)
        write_csv(names)
        for item in items:
            fields: Mapping[str, Any] = msgspec.json.decode(msgspec.json.encode(item))
            write_csv([cell(fields.get(name)) for name in names])
    else:
        return False
    return True


def write_rows(lines: Iterable[str], *, none: str) -> None:
    """Print a line for each row or, if there is no row, the sentence that says so."""
    is_empty = True
    for line in lines:
        write_line(line)
        is_empty = False
    if is_empty:
        write_line(none)


def cell(value: object) -> str:
    """A value as a cell of CSV: text as it is, anything else as in JSON."""
    if value is None:
        return ""
    text = msgspec.json.decode(msgspec.json.encode(value)) if not isinstance(value, str) else value
    return text if isinstance(text, str) else msgspec.json.encode(text).decode()
