"""All output of the command line. Text of a sender never controls the terminal.

A payload, a dead letter's reason and an answer of the API may contain control characters (OSC and CSI sequences). Every
command prints through this module, which replaces them.
"""

import csv
import re
import sys
from collections.abc import Iterable

import msgspec

_UNPRINTABLE = re.compile(r"[^ -~]+")
_FORMULA = re.compile(r"[=+\-@\t\r]")
"""How a cell begins that a spreadsheet evaluates (OWASP, "CSV Injection")."""
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def printable(text: str) -> str:
    """The text on one line, with the replacement character for each character that can't be printed."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def write_line(text: str) -> None:
    """Print one line to standard output."""
    sys.stdout.write(f"{printable(text)}\n")


def write_json(item: object) -> None:
    r"""Print one line of JSON to standard output.

    JSON leaves some control characters as they are, such as U+009B, which begins a sequence like ESC [. Here they are
    escaped as ``\u009b``, so that the value stays the same.
    """
    line = msgspec.json.encode(item).decode()
    sys.stdout.write(_UNPRINTABLE.sub(lambda match: _escaped(match[0]), line) + "\n")


def write_csv(values: Iterable[str]) -> None:
    """Print one line of CSV to standard output (RFC 4180, with the line ends of this system's text).

    A spreadsheet must not evaluate what a sender wrote: a value that begins like a formula, and is no number, gets an
    apostrophe in front, which ``unescaped`` removes.
    """
    csv.writer(sys.stdout, lineterminator="\n").writerow([_inert(printable(value)) for value in values])


def unescaped(value: str) -> str:
    """A value of a CSV file without the apostrophe that ``write_csv`` adds."""
    return value[1:] if value[:1] == "'" and _is_formula(value[1:]) else value


def _inert(value: str) -> str:
    return f"'{value}" if _is_formula(value) else value


def _is_formula(value: str) -> bool:
    return bool(_FORMULA.match(value)) and not _NUMBER.fullmatch(value)


def note(text: str) -> None:
    """Print one line to standard error, after the name of the program."""
    sys.stderr.write(f"helios: {printable(text)}\n")


def note_lines(text: str) -> None:
    """Print a text of Helios itself, whose line breaks are not those of a sender, like ``note``."""
    for line in text.splitlines():
        note(line)


def _escaped(text: str) -> str:
    return "".join(character if character.isprintable() else _escape(character) for character in text)


def _escape(character: str) -> str:
    """The character as JSON escapes it: one or two UTF-16 code units."""
    units = character.encode("utf-16-be").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))
