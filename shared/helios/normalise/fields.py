"""What all channels share: decoding with errors that name the field, and the computed parts of an ``Event``."""

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta, Raw

from helios.errors import UNREADABLE, Rejected
from helios.model.events import MAX_ID_CHARS, MAX_NAME_CHARS, MAX_TEXT_CHARS, Delivery, Event
from helios.model.payload import decimal, inner_json, number, reference
from helios.model.sources import Source
from helios.normalise import scan
from helios.normalise.times import utc

T = TypeVar("T")

Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]
Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS)]
Producer = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT_CHARS)]
Text = Annotated[str, Meta(max_length=MAX_TEXT_CHARS)]

BOM: Final = b"\xef\xbb\xbf"
"""The byte order mark of UTF-8, which a reader may ignore (RFC 8259, section 8.1)."""

_MISSING: Final = re.compile(r"Object missing required field `(?P<name>[^`]+)`")
_PATH: Final = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_TYPE: Final = re.compile(r"Expected `(?P<expected>[^`]+)`, got `(?P<found>[^`]+)`")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(?P<name>[^`]+)`")
_SHORTER: Final = re.compile(r"Expected `str` of length >= 1")
_LONGER: Final = re.compile(r"Expected `str` of length <= (?P<most>\d+)")
_SYNTAX: Final = re.compile(r"JSON is malformed: (?P<fault>.+) \(byte (?P<byte>\d+)\)")
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_HALF: Final = re.compile(rb"(?<!\\)(?:\\\\)*(?P<half>\\u[dD](?:[89abAB]..(?!\\u[dD][c-fC-F])|[c-fC-F]..))")
"""Half of a surrogate pair: a string that was cut within a character."""

_TYPE_NAMES: Final = {
    "str": "a string",
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "object": "an object",
    "array": "an array",
    "null": "null",
}

_AMOUNT_BYTES: Final = 42


class _Known(msgspec.Struct, gc=False):
    """The payload fields that Helios shows, in each of their ``spellings``, with their usual types."""

    order_id: str | int | None = None
    orderId: str | int | None = None  # noqa: N815 - the sender's spelling
    OrderId: str | int | None = None
    customer_id: str | int | None = None
    customerId: str | int | None = None  # noqa: N815 - the sender's spelling
    CustomerId: str | int | None = None
    amount: Raw = Raw()
    Amount: Raw = Raw()


class _AnyType(msgspec.Struct, gc=False):
    """The same fields with values of any type."""

    order_id: Raw = Raw()
    orderId: Raw = Raw()  # noqa: N815 - the sender's spelling
    OrderId: Raw = Raw()
    customer_id: Raw = Raw()
    customerId: Raw = Raw()  # noqa: N815 - the sender's spelling
    CustomerId: Raw = Raw()
    amount: Raw = Raw()
    Amount: Raw = Raw()


_known = msgspec.json.Decoder(_Known)
_any_type = msgspec.json.Decoder(_AnyType)
_reference = msgspec.json.Decoder(float_hook=decimal)
_string = msgspec.json.Decoder(str)
_anything = msgspec.json.Decoder(Raw)
_null = Raw(b"null")
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
        place = scan.field_of(bytes(text), scan.is_unreadable)
        raise Rejected(_syntax_fault(bytes(text), str(error)), field=_join(within, place)) from error
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
    if unknown := _UNKNOWN.fullmatch(reason):
        return "is unknown: remove it, or correct its name", _join(where, unknown["name"])
    if types := _TYPE.fullmatch(reason):
        return _type_fault(types["expected"].split(" | "), types["found"]), where
    if _SHORTER.fullmatch(reason):
        return "is empty", where
    if longer := _LONGER.fullmatch(reason):
        return f"is longer than {longer['most']} characters", where
    return f"is invalid: {reason[0].lower()}{reason[1:]}", where


def _type_fault(expected: list[str], found: str) -> str:
    if found == "null":
        return "is missing"
    names = dict.fromkeys(_TYPE_NAMES.get(name, name) for name in expected if name != "null")
    return f"is {_TYPE_NAMES.get(found, found)}: send {' or '.join(names)}"


def _syntax_fault(text: bytes, message: str) -> str:
    """What is wrong with a text that is not JSON. The decoder reports half of a pair as the end of its input."""
    if half := _HALF.search(text):
        return f"contains {half['half'].decode(errors='replace')}, half of a surrogate pair: send whole characters"
    if not text.strip():
        return "is empty: send JSON"
    if syntax := _SYNTAX.fullmatch(message):
        return f"is not valid JSON: {syntax['fault']} at byte {syntax['byte']}"
    if message == "Input data was truncated":
        return "is not valid JSON: it ends too early"
    return f"is not valid JSON: {message[0].lower()}{message[1:]}"


def _join(outer: str, inner: str) -> str:
    """The path of a field; a path begins with ``body`` only if the body itself is at fault."""
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
            place = scan.field_of(text, lambda part: not _is_utf_8(part))
            raise Rejected(
                f"is not UTF-8: {error.reason} at byte {error.start}", field=_inside(field, place)
            ) from error
    # Searching one byte is much faster than searching six, and most texts have no escapes.
    if b"\\" in text and b"\\u0000" in text and _NUL.search(text):
        place = scan.field_of(text, lambda part: bool(_NUL.search(part)))
        raise Rejected(
            "contains a NUL character (\\u0000), which can't be stored: remove it", field=_inside(field, place)
        )


def _inside(field: str, place: str) -> str:
    """A place within a field. The place within the body is a path of its own."""
    return _join("" if field == "body" and place else field, place)


def _is_utf_8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def build(
    delivery: Delivery,
    *,
    source: Source,
    producer: str,
    id: str,  # noqa: A002 - CloudEvents' word
    type: str,  # noqa: A002 - CloudEvents' word
    subject: str | None,
    time: datetime | None,
    data: bytes,
    data_field: str,
    attributes: Mapping[str, str] | None = None,
) -> Event:
    """An event with these attributes, and with the payload fields that Helios shows, read from ``data`` (JSON text).

    An event without a time gets the time of its arrival. That time is not part of its content; otherwise a second
    delivery would contradict the first.

    Raises:
        Rejected: ``data`` is not JSON, or an attribute contains a NUL character.
    """
    if "\0" in f"{id}{type}{subject}{producer}":
        texts = {"id": id, "type": type, "subject": subject or "", "source": producer}
        field = next(name for name, value in texts.items() if "\0" in value)
        raise Rejected("contains a NUL character, which can't be stored: remove it", field=field)
    data = data.removeprefix(BOM).strip()
    order_id, customer_id, amount = _read_known(data, data_field)
    time = utc(time) if time else None
    return Event(
        source=source,
        producer=producer,
        id=id,
        type=type,
        subject=subject or None,
        time=time or delivery.received_at,
        received_at=delivery.received_at,
        data=Raw(data),
        attributes=attributes or {},
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
        inner = inner_json(data)
        if inner is None or scan.is_unreadable(inner):
            return None, None, Raw()
        data = inner
    try:
        known = _known.decode(data)
    except UNREADABLE:  # every payload is accepted; a field of another type is only not shown in its column
        raw = decode(_any_type, data, within=data_field)
        return (
            _first(raw.order_id, raw.orderId, raw.OrderId),
            _first(raw.customer_id, raw.customerId, raw.CustomerId),
            _of(raw.amount, raw.Amount),
        )
    # The usual spelling first, without a call.
    order_id, customer_id = known.order_id, known.customer_id
    return (
        reference(order_id if order_id not in _UNSET else known.orderId or known.OrderId),
        reference(customer_id if customer_id not in _UNSET else known.customerId or known.CustomerId),
        _of(known.amount, known.Amount),
    )


_UNSET: Final = (None, "")
"""Values that serializers write for a field that is not set."""


def _of(amount: Raw, other: Raw) -> Raw:
    return amount if amount and amount != _null else other


def _first(*values: Raw) -> str | None:
    """The first of the values that is not null or empty, if it is a business id."""
    for value in values:
        if not value:
            continue
        try:
            decoded = _reference.decode(value)
        except UNREADABLE:
            return None  # every payload is accepted; the value is only not shown in this column
        if decoded not in _UNSET:
            return reference(decoded)
    return None


def _as_amount(value: Raw) -> Decimal | None:
    """An exact amount that was sent as a number or as text; None if it is neither, or too large to be an amount."""
    if not value or len(value) > _AMOUNT_BYTES:
        return None
    text = bytes(value)
    try:
        return number(_string.decode(text) if text.startswith(b'"') else text.decode())
    except UNREADABLE:
        return None
