"""Finds the parts of a JSON array or object of which some part is no JSON, which no decoder divides."""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

import msgspec

from helios.errors import UNREADABLE

_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*+(?P<end>"?)|[][{},]', re.DOTALL)
"""A string with its closing quote, or without one at the end of the text; or a bracket, a brace or a comma."""
_NAME: Final = re.compile(rb'\s*(?P<name>"(?:[^"\\]|\\.)*+")\s*:', re.DOTALL)

_MAX_DEPTH: Final = 8
_MAX_BYTES: Final = 1_048_576
"""How deep ``field_of`` looks, and into how large a text: each level reads the text again."""

_anything = msgspec.json.Decoder(msgspec.Raw)
_string = msgspec.json.Decoder(str)


def elements(text: bytes, *, limit: int | None = None) -> list[bytes] | None:
    """The elements of a JSON array, each as it was sent; None if the text is no array or its brackets don't match.

    It stops after more elements than ``limit``, and does not check the rest.
    """
    parts = _parts(text, b"[", limit)
    return None if parts is None or (len(parts) > 1 and not all(parts)) else [part for part in parts if part]


def field_of(text: bytes, is_faulty: Callable[[bytes], bool]) -> str:
    """The path of the innermost faulty value in a JSON object: ``detail.note``; empty if the text itself is at fault.

    Args:
        text: JSON text, of which a part is faulty.
        is_faulty: whether a part is.
    """
    path: list[str] = []
    while len(path) < _MAX_DEPTH and len(text) <= _MAX_BYTES:
        member = next(((name, value) for name, value in members(text) if is_faulty(value)), None)
        if member is None:
            break
        name, text = member
        path.append(name)
    return ".".join(path)


def is_unreadable(text: bytes) -> bool:
    """Whether the text is not valid JSON."""
    try:
        _anything.decode(text)
    except UNREADABLE:
        return True
    return False


def members(text: bytes) -> Iterator[tuple[str, bytes]]:
    """The members of a JSON object whose names are readable."""
    for part in _parts(text, b"{") or ():
        if start := _NAME.match(part):
            with suppress(*UNREADABLE):
                yield _string.decode(start["name"]), part[start.end() :].strip()


def _parts(text: bytes, opening: bytes, limit: int | None = None) -> list[bytes] | None:
    """The text between the commas of the outermost array or object, in time that grows with the size of the text."""
    text = text.strip()
    if text[:1] != opening:
        return None
    parts, depth, start = [], 0, 1
    for token in _TOKEN.finditer(text):
        match token[0][:1]:
            case b'"':
                if not token["end"]:
                    return None
            case b"[" | b"{":
                depth += 1
            case b",":
                if depth == 1:
                    parts.append(text[start : token.start()].strip())
                    start = token.end()
                    if limit is not None and len(parts) > limit:
                        return parts
            case _:
                depth -= 1
                if depth == 0:
                    parts.append(text[start : token.start()].strip())
                    return parts if token.end() == len(text) else None
    return None
