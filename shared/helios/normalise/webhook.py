"""JSON webhooks of declared sources: the declaration says where an event has its parts."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import Raw

from helios.errors import UNREADABLE, Rejected, quote
from helios.model.events import MAX_ID_CHARS, MAX_NAME_CHARS, MAX_TEXT_CHARS, Delivery, Event
from helios.model.sources import SourceDeclaration
from helios.normalise import fields
from helios.normalise.beside import attributes_of
from helios.normalise.declared import values, with_payload_fields
from helios.normalise.times import read_time
from helios.sources.payload import as_text, at

_HEADER: Final = "header:"
_LITERAL: Final = "="

_MILLISECONDS: Final = 100_000_000_000
"""A Unix time from here on is in milliseconds: as seconds it would be in the year 5138."""

_LAST_SECOND: Final = 253_402_300_799
"""The end of the year 9999, the last that Python's calendar has."""

_object = msgspec.json.Decoder(dict[str, Raw])
_encode = msgspec.json.Encoder(decimal_format="number").encode


def normalise(delivery: Delivery) -> Event:
    """The event in a request of a declared source.

    Raises:
        Rejected: the body is not JSON, or has no id or no type where the declaration says that they are.
    """
    declaration = delivery.declaration
    if declaration is None:
        raise Rejected("is not declared any more: declare it again in the file of HELIOS_SOURCES_FILE", field="source")
    fields.check_text(delivery.body)
    body = fields.decode(values, delivery.body)
    data, data_field = _data(delivery.body, declaration.data)
    event = fields.build(
        delivery,
        source=declaration.name,
        producer=_optional(delivery, body, declaration.producer, MAX_TEXT_CHARS) or declaration.name,
        id=_required(delivery, body, declaration.id, MAX_ID_CHARS),
        type=_required(delivery, body, declaration.type, MAX_NAME_CHARS),
        subject=None,
        time=_time(delivery, body, declaration.time),
        data=data,
        data_field=data_field,
        attributes=attributes_of(_beside(body, declaration)),
    )
    return with_payload_fields(event, declaration)


def _data(body: bytes, path: str | None) -> tuple[bytes, str]:
    """The payload byte for byte, and its path for errors.

    Raises:
        Rejected: there is nothing at the path.
    """
    if path is None:
        return body, "body"
    found: bytes | Raw = body
    for step in path.split("."):
        try:
            members = _object.decode(found)
        except UNREADABLE:
            members = {}
        if step not in members:
            raise Rejected("is missing: it is declared as the place of the payload", field=path)
        found = members[step]
    return bytes(found), path


def _value(delivery: Delivery, body: Any, place: str) -> Any:
    if place.startswith(_LITERAL):
        return place.removeprefix(_LITERAL)
    if place.startswith(_HEADER):
        return delivery.headers.get(place.removeprefix(_HEADER))
    return at(body, place.split("."))


def _name(place: str) -> str:
    """A place as errors name it."""
    return f"header {place.removeprefix(_HEADER)}" if place.startswith(_HEADER) else place


def _optional(delivery: Delivery, body: Any, place: str | None, limit: int) -> str | None:
    """The text or number at a place; None if there is none.

    Raises:
        Rejected: the value is neither text nor a number, or too long.
    """
    value = _value(delivery, body, place) if place else None
    if value is None or value == "":
        return None
    text = as_text(value)
    if text is None:
        raise Rejected("must be text or a number", field=_name(place or ""))
    if len(text) > limit:
        raise Rejected(f"has {len(text)} characters: send at most {limit}", field=_name(place or ""))
    return text


def _required(delivery: Delivery, body: Any, place: str | None, limit: int) -> str:
    text = _optional(delivery, body, place, limit)
    if text is None:
        raise Rejected("is missing", field=_name(place or "body"))
    return text


def _time(delivery: Delivery, body: Any, place: str | None) -> datetime | None:
    """The time at a place; None if there is none. Text without an offset is UTC.

    Raises:
        Rejected: the value is no time.
    """
    value = _value(delivery, body, place) if place else None
    if value is None or value == "":
        return None
    try:
        if isinstance(value, str) and not value.isdecimal():
            return read_time(value, field=_name(place or ""), assume_utc=True)
        number = Decimal(value) if isinstance(value, str | int | Decimal) and not isinstance(value, bool) else None
        if number is not None and (seconds := number / 1000 if number >= _MILLISECONDS else number) <= _LAST_SECOND:
            return datetime.fromtimestamp(float(seconds), UTC)
    except (*UNREADABLE, ArithmeticError, ValueError, OSError):
        pass  # the next line rejects the value
    text = quote(as_text(value) or type(value).__name__)
    raise Rejected(f"is {text}: send RFC 3339, such as 2025-11-26T12:00:00Z, or Unix time", field=_name(place or ""))


def _beside(body: Any, declaration: SourceDeclaration) -> Mapping[str, str]:
    """What the envelope has beside the payload; nothing if the whole body is the payload."""
    if declaration.data is None or not isinstance(body, dict):
        return {}
    places = (declaration.data, declaration.id, declaration.type, declaration.time)
    used = {place.partition(".")[0] for place in places if place}
    return {
        name: value if isinstance(value, str) else _encode(value).decode()
        for name, value in body.items()
        if name not in used and value is not None
    }
