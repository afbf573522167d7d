"""CloudEvents 1.0 over HTTP, in structured and binary mode, whichever cloud they come from."""

import binascii
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import unquote

import msgspec
from msgspec import Meta, Raw

from helios.errors import Rejected
from helios.model.events import SOURCES, Delivery, Event, Source
from helios.normalise.fields import Id, Name, Text, Time, build, check_text, decode, explain

EVENT_FORMATS = "application/cloudevents"
"""How the content types of structured and batch mode begin."""

SOURCE_OF: tuple[tuple[str, Source], ...] = (
    ("arn:aws:", "aws"),
    ("aws.", "aws"),
    ("//pubsub.googleapis.com/", "gcp"),
    ("//storage.googleapis.com/", "gcp"),
    ("//cloudaudit.googleapis.com/", "gcp"),
    ("/subscriptions/", "azure"),
    ("https://management.azure.com/", "azure"),
)
"""How the clouds' own CloudEvents begin their ``source``."""


class _Attributes(msgspec.Struct):
    """CloudEvents 1.0, "Context Attributes", and one extension of ours."""

    id: Id
    source: Annotated[str, Meta(min_length=1, max_length=2048)]
    type: Name
    specversion: Annotated[str, Meta(pattern=r"^1\.")]
    subject: Text | None = None
    time: Time | None = None
    datacontenttype: str | None = None
    cloud: Source | None = None


class _Structured(_Attributes):
    data: Raw = Raw()
    data_base64: str | None = None


class _Peek(msgspec.Struct):
    specversion: Raw = Raw()


_peek = msgspec.json.Decoder(_Peek)
_structured = msgspec.json.Decoder(_Structured)


def normalise(delivery: Delivery) -> Event:
    """The Event in a CloudEvent that says itself which cloud it comes from.

    Raises:
        Rejected: it is no CloudEvent, its data is not JSON, or its cloud can't be told.
    """
    return normalise_from(delivery, None)


def normalise_from(delivery: Delivery, cloud: Source | None) -> Event:
    """The same, for a way in that only one cloud uses.

    Raises:
        Rejected: as above.
    """
    attributes, data, data_field = read(delivery)
    return build(
        delivery,
        source=cloud or _cloud(attributes),
        id=attributes.id,
        type=attributes.type,
        subject=attributes.subject,
        time=attributes.time,
        origin=attributes.source,
        data=data,
        data_field=data_field,
    )


def is_binary(delivery: Delivery) -> bool:
    """Whether the attributes stand in ``ce-`` headers."""
    return is_binary_mode(delivery.headers)


def is_binary_mode(headers: Mapping[str, str]) -> bool:
    """Whether the attributes of a request are its ``ce-`` headers.

    The content type decides: in structured mode the headers may repeat the attributes, and the body is what counts
    (CloudEvents HTTP Protocol Binding 1.0.2, sections 3 and 3.2.3).
    """
    return not _names_cloudevent(headers) and ("ce-id" in headers or "ce-specversion" in headers)


def _names_cloudevent(headers: Mapping[str, str]) -> bool:
    """Whether the content type is one of structured or batch mode."""
    return headers.get("content-type", "").strip().lower().startswith(EVENT_FORMATS)


def is_structured(delivery: Delivery) -> bool:
    """Whether the body itself is a CloudEvent.

    Raises:
        Rejected: the body is not JSON.
    """
    if _names_cloudevent(delivery.headers):
        return True
    # The cheap look first: nearly every body of the other contracts lacks the word.
    return b'"specversion"' in delivery.body and bool(decode(_peek, delivery.body).specversion)


def read(delivery: Delivery) -> tuple[_Attributes, bytes, str]:
    """The attributes, the data as JSON text, and what the sender calls the place where the data stood.

    Raises:
        Rejected: it is no CloudEvent, or its data is not JSON.
    """
    if is_binary(delivery):
        return _read_binary(delivery)
    check_text(delivery.body)
    event = decode(_structured, delivery.body)
    _require_json(event.datacontenttype, "datacontenttype")
    if event.data_base64 is None:
        return event, bytes(event.data) or b"null", "data"
    data = decode_base64(event.data_base64, field="data_base64")
    return event, data, "data_base64"


def _read_binary(delivery: Delivery) -> tuple[_Attributes, bytes, str]:
    """CloudEvents HTTP Protocol Binding 1.0.2, section 3.1 (values are percent-encoded: 3.1.3.2)."""
    given = {name[3:]: unquote(value) for name, value in delivery.headers.items() if name.startswith("ce-")}
    try:
        attributes = msgspec.convert(given, _Attributes, strict=False)
    except msgspec.ValidationError as error:
        reason, field = explain(str(error))
        raise Rejected(reason, field=f"header ce-{field}") from error
    _require_json(delivery.headers.get("content-type"), "header content-type")
    check_text(delivery.body)
    return attributes, delivery.body or b"null", "body"


def decode_base64(text: str, *, field: str) -> bytes:
    """The JSON text that was sent as base64 (RFC 4648 section 4).

    Raises:
        Rejected: it is not base64, or not text inside.
    """
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise Rejected(f"is not base64: {error}", field=field) from error
    check_text(data, field=field)
    return data


def _require_json(content_type: str | None, field: str) -> None:
    media_type = (content_type or "application/json").partition(";")[0].strip().lower()
    if media_type.endswith(("/json", "+json")):
        return
    raise Rejected(f"is {media_type!r}: Helios reads JSON; send application/json", field=field, status=415)


def _cloud(attributes: _Attributes) -> Source:
    if attributes.cloud:
        return attributes.cloud
    for prefix, cloud in SOURCE_OF:
        if attributes.source.startswith(prefix):
            return cloud
    raise Rejected(
        f"does not tell which cloud {attributes.source!r} is on: add the extension attribute "
        f"`cloud` with one of {', '.join(SOURCES)}",
        field="source",
    )
