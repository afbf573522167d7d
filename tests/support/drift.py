"""Finds Terraform code whose plan never becomes empty, because the provider does not read back what the code states.

Two causes are known from applying the roots with the real providers, and one from the provider's own change log:

- An empty string in a map of settings: the cloud drops the entry, or the provider does not read it, so that every plan
  adds it again.
- A nested block that states only zero values: the cloud leaves such a block out of its answer, so that every plan adds
  it again. Zero values are the defaults of both clouds' APIs, so the block has no effect.
- An argument that says what to do, and is answered with what is: ``all_traffic_on_latest_revision = false`` leaves the
  calls where they are, and Google answers true as long as they go to the latest revision. A release moves the calls of
  an alias of Lambda. The resource must ignore changes of such an argument.

A block or an entry that is right all the same has the comment ``drift:skip=REASON`` in its first line.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

_ENTRY = re.compile(r'^"?(?P<name>[\w.-]+)"? *= *(?P<value>[^#]*?) *(?P<comment>#.*)?$')
_COMMENT = re.compile(r"\s*(#|//).*$")
_CLOSING = re.compile(r"^[})\]]")
_OPENING = re.compile(r"[{(\[]$")
_ZERO = re.compile(r'^(0|0\.0|"0s?"|false|"false"|""|\[\]|\{\})$')
_SKIP = "drift:skip="
_MOVED = ("all_traffic_on_latest_revision", "function_version", "routing_config")
"""The arguments whose value depends on where a release has moved the calls."""
_NO_ARGUMENTS_OF_A_CLOUD = {
    "variable",
    "output",
    "validation",
    "lifecycle",
    "locals",
    "features",
    "provider",
    "terraform",
}


class Drift(NamedTuple):
    """One place in the code.

    Attributes:
        line: the number of the line, from 1.
        reason: what is wrong and what to do.
    """

    line: int
    reason: str


class _Open(NamedTuple):
    """A bracket that is open, or a block of arguments.

    Attributes:
        name: the first word of a block; empty for a map, a list or a call.
        line: where it opens.
        skip: whether its first line excuses it.
        values: the values of its own arguments.
        nested: the blocks in it.
    """

    name: str
    line: int
    skip: bool
    values: list[str]
    nested: list[str]


def find(code: str) -> Iterator[Drift]:
    """The places in one file that is formatted by ``terraform fmt``."""
    yield from _not_ignored(code)
    stack: list[_Open] = []
    terminator = ""
    for number, text in enumerate(code.splitlines(), start=1):
        line = text.strip()
        if terminator:  # in a heredoc
            terminator = "" if line == terminator else terminator
            continue
        if heredoc := re.search(r"<<-?(\w+)$", line):
            terminator = heredoc[1]
        if _CLOSING.match(line):
            yield from _closed(stack.pop(), stack)
        elif entry := _ENTRY.match(line):
            if stack:
                stack[-1].values.append(entry["value"])
            if entry["value"] == '""' and not _skipped(line) and _in_map(stack):
                yield Drift(number, f"{entry['name']} is an empty string in a map: leave the entry out")
        if _OPENING.search(stated := _COMMENT.sub("", line)):
            block = re.match(r'^(\w+)( "[^"]+")* \{$', stated)
            name = block[1] if block else ""
            if stack and name:
                stack[-1].nested.append(name)
            stack.append(_Open(name, number, _skipped(line), [], []))


def _not_ignored(code: str) -> Iterator[Drift]:
    """The arguments that a release moves, in resources that do not ignore their changes."""
    for resource in re.finditer(r'^resource "[^"]+" "[^"]+" \{\n.*?^\}', code, re.MULTILINE | re.DOTALL):
        ignored = re.search(r"ignore_changes *= *\[([^#]*?)\]\n", resource[0], re.DOTALL)
        for argument in re.finditer(
            rf"^ +({'|'.join(_MOVED)}) +=|^ +({'|'.join(_MOVED)}) \{{", resource[0], re.MULTILINE
        ):
            name = argument[1] or argument[2]
            if ignored is None or not re.search(rf"\b{name}\b", ignored[1]):
                line = code.count("\n", 0, resource.start() + argument.start()) + 1
                yield Drift(line, f"a release moves {name}: add it to ignore_changes")


def _closed(block: _Open, around: list[_Open]) -> Iterator[Drift]:
    """A block of a resource, as opposed to a resource itself, of which every argument is zero."""
    if not block.name or not around or block.skip or block.nested or not block.values:
        return
    if {opened.name for opened in around} & _NO_ARGUMENTS_OF_A_CLOUD or block.name in _NO_ARGUMENTS_OF_A_CLOUD:
        return
    if all(_ZERO.match(value) for value in block.values):
        yield Drift(block.line, f"the block {block.name} states only default values: leave it out")


def _in_map(stack: list[_Open]) -> bool:
    """Whether the innermost bracket is that of a map, of a resource or of a local value."""
    return bool(stack) and not stack[-1].name and not {"variable", "output"} & {opened.name for opened in stack}


def _skipped(line: str) -> bool:
    return _SKIP in line.partition("#")[2]
