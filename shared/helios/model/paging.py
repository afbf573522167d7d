"""Pages of answers, and the cursors between them."""

from typing import Generic, TypeVar

import msgspec

from helios.errors import Rejected

T = TypeVar("T")


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """Some of the answers; ``next_cursor`` asks for the ones that follow, and is None at the end."""

    items: list[T]
    next_cursor: str | None


_Position = TypeVar("_Position")


def encode_cursor(position: object) -> str:
    """A position in an ordering as opaque text for a URL."""
    return msgspec.json.encode(position).hex()


def decode_cursor(cursor: str, type_: type[_Position]) -> _Position:
    """The position that ``encode_cursor`` was given.

    Raises:
        Rejected: the text is no cursor of this ordering.
    """
    try:
        return msgspec.json.decode(bytes.fromhex(cursor), type=type_)
    except (ValueError, msgspec.MsgspecError) as error:
        raise Rejected("is not a cursor: pass next_cursor of the page before, unchanged", field="after") from error
