"""TOML files with declarations: every error names the file, the line and the key."""

import re
import tomllib
from pathlib import Path
from typing import Any, Final

import msgspec

from helios.errors import ConfigurationError

_STEP: Final = re.compile(r"([\w-]+)(?:\[(\d+)\])?")
_SYNTAX_LINE: Final = re.compile(r" \(at line (\d+), column \d+\)$")


class TomlError(ConfigurationError):
    """A mistake in a file.

    Attributes:
        line: the number of its line; None if the parser names none: the text ends too early.
        key: the key at fault, such as ``flow[0].leg[1].type``; empty if the text is not TOML.
        reason: what is wrong, as a predicate of the key.
    """

    def __init__(self, name: str, *, line: int | None, key: str, reason: str) -> None:
        """Build the error of a file with this name."""
        where = name if line is None or _SYNTAX_LINE.search(reason) else f"{name}, line {line}"
        super().__init__(": ".join(part for part in (where, key, reason) if part))
        self.line, self.key, self.reason = line, key, reason


class TomlFile(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed file.

    Attributes:
        name: the name for errors.
        text: the whole file.
        document: its content.
    """

    name: str
    text: str
    document: dict[str, Any]

    def fault(self, key: str, reason: str) -> TomlError:
        """The error of a key such as ``flow[0].leg[1].type``."""
        return TomlError(self.name, line=line_of(self.text, key), key=key, reason=reason)


def read(path: Path, *, setting: str) -> TomlFile:
    """Read and parse a file.

    Raises:
        ConfigurationError: the file can't be read, or is not TOML.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigurationError(f"{setting}: {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{setting}: {path}: is not UTF-8") from error
    return parse(text, name=str(path))


def parse(text: str, *, name: str) -> TomlFile:
    """Parse the text of a file.

    Raises:
        TomlError: the text is not TOML.
    """
    try:
        return TomlFile(name=name, text=text, document=tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        place = _SYNTAX_LINE.search(str(error))
        raise TomlError(name, line=int(place[1]) if place else None, key="", reason=str(error)) from error
    except RecursionError as error:
        raise TomlError(name, line=None, key="", reason="is nested too deeply") from error


def shape_fault(value: Any, type_: Any, at: str) -> tuple[str, str] | None:
    """The key at fault and the reason, if a value has another shape than a type; None if it has that shape.

    msgspec's own path lacks the indexes of tables, so the caller checks each table of an array, with its index in
    ``at``.
    """
    try:
        msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        return f"{at}{path.rstrip('`')}", reason
    return None


def line_of(text: str, key: str) -> int:
    """The number of the line with a key such as ``flow[0].leg[1].type``; the line of its table if the key is absent."""
    lines = text.splitlines()
    position, begin, table = 0, 0, ""
    for name, index in _STEP.findall(key):
        table = f"{table}.{name}".lstrip(".")
        tables_before = int(index or 0)
        for number, line in enumerate(lines[begin:], start=begin):
            if line.strip() in {f"[[{table}]]", f"[{table}]"}:
                if not tables_before:
                    position, begin = number, number + 1
                    break
                tables_before -= 1
            elif re.match(rf"\s*{re.escape(name)}\s*=", line):
                position = number
                break
    return position + 1
