"""The type and the time of a delivery that can't be read, as far as its envelope tells, so that it can be counted."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from helios.errors import UNREADABLE, Rejected
from helios.model.events import MAX_NAME_CHARS, Delivery
from helios.model.sources import SourceDeclaration
from helios.normalise import scan
from helios.normalise.times import read_time

MAX_BYTES: Final = 262_144
"""In a larger body nothing is looked for, so that a flood of them does not occupy ingest."""

_TYPES: Final = ("ce-type", "event_type", "eventType", "eventtype", "detail-type", "EventType", "type")
_TIMES: Final = ("ce-time", "eventTime", "EventTime", "time", "publishTime", "publish_time")
"""The names that the channels use, the more specific ones first."""

_HEADER: Final = "header:"
_LITERAL: Final = "="

_string = msgspec.json.Decoder(str)


class Envelope(NamedTuple):
    """What an envelope tells.

    Attributes:
        type: the type of the event; None if it is not to be found.
        time: when it happened, UTC; the time of its arrival if that is not to be found.
    """

    type: str | None
    time: datetime


def envelope_of(delivery: Delivery) -> Envelope:
    """The type and the time in an envelope. It never raises: the delivery has been rejected already."""
    texts = {name.lower(): value for name, value in delivery.headers.items()}
    if len(delivery.body) <= MAX_BYTES:
        texts |= _texts(delivery.body)
    type_ = _declared_type(delivery.declaration, texts) if delivery.declaration else _first(texts, _TYPES)
    if type_ is not None and (not 0 < len(type_) <= MAX_NAME_CHARS or "\0" in type_):
        type_ = None
    return Envelope(type_, _time(_first(texts, _TIMES)) or delivery.received_at)


def _texts(body: bytes) -> dict[str, str]:
    """The texts at the top of a body, and those of a Pub/Sub message and its attributes."""
    found: dict[str, str] = {}
    pending = [body]
    while pending:
        for name, value in scan.members(pending.pop()):
            if name in {"message", "attributes"}:
                pending.append(value)
            elif value.startswith(b'"'):
                try:
                    found[name] = _string.decode(value)
                except UNREADABLE:
                    continue
    return found


def _first(texts: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((texts[name] for name in names if texts.get(name)), None)


def _declared_type(declaration: SourceDeclaration, texts: Mapping[str, str]) -> str | None:
    place = declaration.type
    if place is None:  # of CloudEvents
        return _first(texts, _TYPES)
    if place.startswith(_LITERAL):
        return place.removeprefix(_LITERAL)
    return texts.get(place.removeprefix(_HEADER).lower() if place.startswith(_HEADER) else place)


def _time(text: str | None) -> datetime | None:
    try:
        return read_time(text, field="time", assume_utc=True) if text else None
    except Rejected:
        return None
