"""What every contract shares: decoding with errors that name the field, and the parts of an Event we compute."""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from helios.errors import UNREADABLE, Rejected
from helios.model.events import MAX_ID_CHARS, MAX_NAME_CHARS, MAX_TEXT_CHARS, Delivery, Event, Source

T = TypeVar("T")

Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]
Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS)]
Text = Annotated[str, Meta(max_length=MAX_TEXT_CHARS)]
Time = Annotated[datetime, Meta(tz=True)]

_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]+)`")
_PATH = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")

_AMOUNT_CHARS = 40
_AMOUNT_DIGITS = 18


Reference = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)] | int


class _Known(msgspec.Struct, gc=False):
    """The payload fields that Helios shows, each under the two spellings in use, and as nearly everybody sends them."""

    order_id: Reference | UnsetType = UNSET
    orderId: Reference | UnsetType = UNSET  # noqa: N815 - the sender's spelling
    customer_id: Reference | UnsetType = UNSET
    customerId: Reference | UnsetType = UNSET  # noqa: N815 - the sender's spelling
    amount: Raw = Raw()


class _Anyhow(msgspec.Struct, gc=False):
    """The same fields, whatever they are."""

    order_id: Raw = Raw()
    orderId: Raw = Raw()  # noqa: N815 - the sender's spelling
    customer_id: Raw = Raw()
    customerId: Raw = Raw()  # noqa: N815 - the sender's spelling
    amount: Raw = Raw()


_known = msgspec.json.Decoder(_Known)
_anyhow = msgspec.json.Decoder(_Anyhow)
_reference = msgspec.json.Decoder(Reference)
_amount = msgspec.json.Decoder(Decimal)
_anything = msgspec.json.Decoder(Raw)
_encode = msgspec.json.Encoder().encode
_digest_of_nothing = hashlib.blake2b(digest_size=8)


def decode(decoder: msgspec.json.Decoder[T], text: bytes | Raw, *, within: str = "") -> T:
    """Decode JSON text, or say which field of it is wrong.

    Args:
        decoder: for the shape that the contract asks for.
        text: UTF-8 JSON.
        within: where the text was found, in the sender's spelling; empty for the body itself.

    Raises:
        Rejected: the text is not JSON (RFC 8259: NaN is not), or a field is missing or of the wrong type.
    """
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        reason, field = explain(str(error))
        raise Rejected(reason, field=_join(within, field)) from error
    except msgspec.DecodeError as error:
        raise Rejected(f"is not valid JSON: {error}", field=within or "body") from error
    except UnicodeDecodeError as error:
        raise Rejected(f"is not UTF-8: {error.reason} at byte {error.start}", field=within or "body") from error
    except RecursionError as error:
        raise Rejected("is nested too deeply to be read", field=within or "body") from error


def explain(message: str) -> tuple[str, str]:
    """The reason and the field path out of msgspec's message."""
    path = _PATH.search(message)
    where = path["path"] if path else ""
    reason = _PATH.sub("", message)
    if missing := _MISSING.search(reason):
        return "is missing", _join(where, missing["name"])
    return f"is not what it should be: {reason[0].lower()}{reason[1:]}", where


def _join(outer: str, inner: str) -> str:
    return ".".join(part for part in (outer, inner) if part) or "body"


def check_text(text: bytes, *, field: str = "body") -> None:
    r"""Refuse what is JSON but cannot be stored as text.

    Raises:
        Rejected: the bytes are not UTF-8 (RFC 8259 section 8.1), or hold ``\u0000``, which Postgres' text can't.
    """
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError as error:
            raise Rejected(f"is not UTF-8: {error.reason} at byte {error.start}", field=field) from error
    # One byte is found a good deal faster than six, and most texts escape nothing.
    if b"\\" in text and b"\\u0000" in text and _NUL.search(text):
        raise Rejected("holds a NUL character (\\u0000), which can't be stored as text: leave it out", field=field)


def utc(moment: datetime) -> datetime:
    """The same instant in UTC; where that lies outside the calendar, the nearest one inside."""
    if moment.tzinfo is UTC or moment.utcoffset() == timedelta(0):
        return moment
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # the first and last day of the calendar
        return moment.replace(tzinfo=UTC)


def build(
    delivery: Delivery,
    *,
    source: Source,
    id: str,  # noqa: A002 - CloudEvents' word
    type: str,  # noqa: A002 - CloudEvents' word
    subject: str | None,
    time: datetime | None,
    origin: str,
    data: bytes,
    data_field: str,
) -> Event:
    """Make the Event, taking the payload fields that Helios shows from ``data`` (JSON text).

    An event that does not say when it happened gets the time of its arrival; that is no part of its content, or a
    second delivery would contradict the first.

    Raises:
        Rejected: ``data`` is not JSON, or an attribute holds a NUL character.
    """
    if "\0" in f"{id}{type}{subject}{origin}":
        raise Rejected("one of id, type, subject and source holds a NUL character: leave it out", field="id")
    data = data.strip()
    order_id, customer_id, amount = _read_known(data, data_field)
    time = utc(time) if time else None
    return Event(
        source=source,
        id=id,
        type=type,
        subject=subject or None,
        time=time or delivery.received_at,
        received_at=delivery.received_at,
        origin=origin,
        data=Raw(data),
        order_id=order_id,
        customer_id=customer_id,
        amount=_as_amount(amount),
        digest=_digest(type, subject, time, data),
    )


def replace_data(event: Event, data: bytes) -> Event:
    """The same event with another payload, and all that ``build`` takes from a payload taken from this one.

    Raises:
        Rejected: ``data`` is not JSON.
    """
    order_id, customer_id, amount = _read_known(data, "data")
    had_time = event.digest != _digest(event.type, event.subject, None, bytes(event.data))
    return msgspec.structs.replace(
        event,
        data=Raw(data),
        order_id=order_id,
        customer_id=customer_id,
        amount=_as_amount(amount),
        digest=_digest(event.type, event.subject, event.time if had_time else None, data),
    )


def _digest(type_: str, subject: str | None, time: datetime | None, data: bytes) -> str:
    digest = _digest_of_nothing.copy()  # a third cheaper than a new one
    digest.update(_encode((type_, subject or "", time)))
    digest.update(data)
    return digest.hexdigest()


def _read_known(data: bytes, data_field: str) -> tuple[str | None, str | None, Raw]:
    """The order, the customer and the amount that a payload names."""
    if not data.startswith(b"{"):
        decode(_anything, data, within=data_field)
        return None, None, Raw()
    try:
        known = _known.decode(data)
    except UNREADABLE:  # any payload is welcome; a field of another kind only isn't shown under its heading
        given = decode(_anyhow, data, within=data_field)
        order, customer = given.order_id or given.orderId, given.customer_id or given.customerId
        return _as_reference(order), _as_reference(customer), given.amount
    order_id = known.orderId if known.order_id is UNSET else known.order_id
    customer_id = known.customerId if known.customer_id is UNSET else known.customer_id
    return (
        None if order_id is UNSET else str(order_id),
        None if customer_id is UNSET else str(customer_id),
        known.amount,
    )


def _as_reference(value: bytes | Raw) -> str | None:
    """A business id, whether it was sent as text or as a number; None if it is neither."""
    if not value:
        return None
    try:
        return str(_reference.decode(value))
    except UNREADABLE:
        return None  # any payload is welcome; it only isn't shown under this heading


def _as_amount(value: bytes | Raw) -> Decimal | None:
    """An exact amount, whether it was sent as a number or as text; None if it is neither, or absurd."""
    if not value or len(value) > _AMOUNT_CHARS:
        return None
    try:
        amount = _amount.decode(value)
    except UNREADABLE:
        return None
    if amount.is_finite() and -_AMOUNT_DIGITS < amount.adjusted() < _AMOUNT_DIGITS:
        return amount
    return None
