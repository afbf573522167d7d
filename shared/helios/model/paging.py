"""Pages of results, and the cursors between them."""

from typing import Generic, TypeVar

import msgspec

from helios.errors import Rejected

T = TypeVar("T")


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A page of results. ``next_cursor`` selects the next page; it is None on the last page."""

    items: list[T]
    next_cursor: str | None


_Position = TypeVar("_Position")


def encode_cursor(position: object) -> str:
    """A position in an ordering, as opaque text for a URL."""
    return msgspec.json.encode(position).hex()


def decode_cursor(cursor: str, type_: type[_Position]) -> _Position:
    """The position that a cursor encodes.

    Raises:
        Rejected: the text is not a cursor of this ordering.
    """
    try:
        return msgspec.json.decode(bytes.fromhex(cursor), type=type_)
    except (ValueError, msgspec.MsgspecError) as error:
        raise Rejected("is not a cursor: pass next_cursor of the previous page unchanged", field="after") from error
