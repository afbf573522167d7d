"""The ``helios`` commands that a document prints."""

import re
import shlex
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_SHELLS = {"", "bash", "console", "sh", "shell"}
_INLINE = re.compile(r"`(?P<text>[^`]+)`")
_PROGRAMS = {"helios", ".venv/bin/helios"}
_SQL = re.compile(r"[A-Z]+ [A-Z]+ ")
"""How a statement of SQL begins, which may name the role `helios`."""
_SEPARATORS = {"|", "||", "&&", ";", "&", ">", ">>", "<"}


class PrintedCommand(NamedTuple):
    """A command without the name of the program.

    Attributes:
        arguments: as the shell splits them.
        is_fenced: whether it is a line of a code block, which a reader copies; otherwise it is part of a sentence.
    """

    arguments: tuple[str, ...]
    is_fenced: bool

    @property
    def words(self) -> list[str]:
        """The arguments before the first option: the command, its action, and perhaps an id."""
        first_option = next((place for place, text in enumerate(self.arguments) if text.startswith("-")), None)
        return list(self.arguments[:first_option])


def code_blocks(document: Path, languages: Collection[str]) -> list[str]:
    """The text of every code block in one of these languages."""
    return [block["text"] for block in _FENCE.finditer(document.read_text()) if block["language"] in languages]


def fenced_lines(document: Path, languages: Collection[str] = frozenset(_SHELLS)) -> list[str]:
    """Every line of the code blocks in a shell, without comments; a line that continues is joined with the next."""
    return [
        command
        for text in code_blocks(document, languages)
        for line in text.replace("\\\n", " ").splitlines()
        if (command := re.sub(r"(^|\s)# .*", "", line).strip())
    ]


def printed_commands(document: Path) -> list[PrintedCommand]:
    """Every command of a document: those of its code blocks, then those in its sentences, each in order."""
    text = document.read_text()
    lines = fenced_lines(document)
    spans = [span["text"] for span in _INLINE.finditer(_FENCE.sub("", text))]
    return [
        PrintedCommand(arguments, is_fenced)
        for texts, is_fenced in ((lines, True), (spans, False))
        for line in texts
        if (arguments := _arguments(line))
    ]


def _arguments(line: str) -> tuple[str, ...]:
    """What follows the program's name up to the end of the command; nothing for a line without the program."""
    if not any(program in line for program in _PROGRAMS) or _SQL.match(line):
        return ()
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    tokens = list(lexer)
    start = next((place for place, token in enumerate(tokens) if token in _PROGRAMS), len(tokens)) + 1
    end = next((place for place, token in enumerate(tokens[start:], start) if token in _SEPARATORS), len(tokens))
    return tuple(tokens[start:end])
