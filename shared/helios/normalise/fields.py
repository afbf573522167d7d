"""What all channels share: decoding with errors that name the field, and the computed parts of an ``Event``."""

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
    """The payload fields that Helios shows, in both common spellings, with their usual types."""

    order_id: Reference | UnsetType = UNSET
    orderId: Reference | UnsetType = UNSET  # noqa: N815 - the sender's spelling
    customer_id: Reference | UnsetType = UNSET
    customerId: Reference | UnsetType = UNSET  # noqa: N815 - the sender's spelling
    amount: Raw = Raw()


class _AnyType(msgspec.Struct, gc=False):
    """The same fields with values of any type."""

    order_id: Raw = Raw()
    orderId: Raw = Raw()  # noqa: N815 - the sender's spelling
    customer_id: Raw = Raw()
    customerId: Raw = Raw()  # noqa: N815 - the sender's spelling
    amount: Raw = Raw()


_known = msgspec.json.Decoder(_Known)
_any_type = msgspec.json.Decoder(_AnyType)
_reference = msgspec.json.Decoder(Reference)
_amount = msgspec.json.Decoder(Decimal)
_anything = msgspec.json.Decoder(Raw)
_encode = msgspec.json.Encoder().encode
_digest_of_nothing = hashlib.blake2b(digest_size=8)


def decode(decoder: msgspec.json.Decoder[T], text: bytes | Raw, *, within: str = "") -> T:
    """The value of a JSON text.

    Args:
        decoder: decodes the structure that the channel requires.
        text: UTF-8 JSON.
        within: the field that contains the text, in the sender's spelling; empty for the body itself.

    Raises:
        Rejected: the text is not JSON (RFC 8259: NaN is not JSON), or a field is missing or has the wrong type; the
            error names the field.
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
        raise Rejected("is nested too deeply: reduce its depth", field=within or "body") from error


def explain(message: str) -> tuple[str, str]:
    """The reason and the path of the field, from a message of msgspec."""
    path = _PATH.search(message)
    where = path["path"] if path else ""
    reason = _PATH.sub("", message)
    if missing := _MISSING.search(reason):
        return "is missing", _join(where, missing["name"])
    return f"is invalid: {reason[0].lower()}{reason[1:]}", where


def _join(outer: str, inner: str) -> str:
    return ".".join(part for part in (outer, inner) if part) or "body"


def check_text(text: bytes, *, field: str = "body") -> None:
    r"""Return if Postgres can store the bytes as text.

    Raises:
        Rejected: the bytes are not UTF-8 (RFC 8259 section 8.1), or contain ``\u0000``, which Postgres can't store.
    """
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError as error:
            raise Rejected(f"is not UTF-8: {error.reason} at byte {error.start}", field=field) from error
    # Searching one byte is much faster than searching six, and most texts have no escapes.
    if b"\\" in text and b"\\u0000" in text and _NUL.search(text):
        raise Rejected("contains a NUL character (\\u0000), which can't be stored: remove it", field=field)


def utc(moment: datetime) -> datetime:
    """The same instant in UTC. If that is outside the calendar, the nearest time inside."""
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
    """An event with these attributes, and with the payload fields that Helios shows, read from ``data`` (JSON text).

    An event without a time gets the time of its arrival. That time is not part of its content; otherwise a second
    delivery would contradict the first.

    Raises:
        Rejected: ``data`` is not JSON, or an attribute contains a NUL character.
    """
    if "\0" in f"{id}{type}{subject}{origin}":
        attributes = {"id": id, "type": type, "subject": subject or "", "source": origin}
        field = next(name for name, value in attributes.items() if "\0" in value)
        raise Rejected("contains a NUL character, which can't be stored: remove it", field=field)
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
    """The order id, the customer id and the amount in a payload."""
    if not data.startswith(b"{"):
        decode(_anything, data, within=data_field)
        return None, None, Raw()
    try:
        known = _known.decode(data)
    except UNREADABLE:  # every payload is accepted; a field of another type is only not shown in its column
        raw = decode(_any_type, data, within=data_field)
        order, customer = raw.order_id or raw.orderId, raw.customer_id or raw.customerId
        return _as_reference(order), _as_reference(customer), raw.amount
    order_id = known.orderId if known.order_id is UNSET else known.order_id
    customer_id = known.customerId if known.customer_id is UNSET else known.customer_id
    return (
        None if order_id is UNSET else _as_id(order_id),
        None if customer_id is UNSET else _as_id(customer_id),
        known.amount,
    )


def _as_id(value: str | int) -> str | None:
    """A business id as text; None if it has more than MAX_ID_CHARS, which no decoder checks of a number."""
    text = str(value)
    return text if len(text) <= MAX_ID_CHARS else None


def _as_reference(value: bytes | Raw) -> str | None:
    """A business id that was sent as text or as a number; None if it is neither."""
    if not value:
        return None
    try:
        return _as_id(_reference.decode(value))
    except UNREADABLE:
        return None  # every payload is accepted; the value is only not shown in this column


def _as_amount(value: bytes | Raw) -> Decimal | None:
    """An exact amount that was sent as a number or as text; None if it is neither, or too large to be an amount."""
    if not value or len(value) > _AMOUNT_CHARS:
        return None
    try:
        amount = _amount.decode(value)
    except UNREADABLE:
        return None
    if amount.is_finite() and -_AMOUNT_DIGITS < amount.adjusted() < _AMOUNT_DIGITS:
        return amount
    return None
