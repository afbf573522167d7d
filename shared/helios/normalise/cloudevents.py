"""CloudEvents 1.0 over HTTP, in structured and binary mode, from any cloud."""

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
"""The prefixes of ``source`` in the clouds' own CloudEvents."""


class _Attributes(msgspec.Struct):
    """CloudEvents 1.0, "Context Attributes", and the extension attribute ``cloud`` of Helios."""

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
    """The event in a CloudEvent, with the cloud that its ``cloud`` or ``source`` attribute names.

    Raises:
        Rejected: the delivery is not a CloudEvent, its data is not JSON, or it names no known cloud.
    """
    return normalise_from(delivery, None)


def normalise_from(delivery: Delivery, cloud: Source | None) -> Event:
    """The event in a CloudEvent, for a channel that only one cloud uses.

    Args:
        delivery: the delivery.
        cloud: the cloud that uses the channel; None: the CloudEvent names its cloud.

    Raises:
        Rejected: see ``normalise``.
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
    """Whether the attributes are in ``ce-`` headers."""
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
    # The cheap test first: nearly every body of the other formats lacks the word.
    return b'"specversion"' in delivery.body and bool(decode(_peek, delivery.body).specversion)


def read(delivery: Delivery) -> tuple[_Attributes, bytes, str]:
    """The attributes, the data as JSON text, and the sender's name of the data field.

    Raises:
        Rejected: the delivery is not a CloudEvent, or its data is not JSON.
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
    """Read binary mode: CloudEvents HTTP Protocol Binding 1.0.2, section 3.1 (values are percent-encoded: 3.1.3.2)."""
    values = {name[3:]: unquote(value) for name, value in delivery.headers.items() if name.startswith("ce-")}
    try:
        attributes = msgspec.convert(values, _Attributes, strict=False)
    except msgspec.ValidationError as error:
        reason, field = explain(str(error))
        raise Rejected(reason, field=f"header ce-{field}") from error
    _require_json(delivery.headers.get("content-type"), "header content-type")
    check_text(delivery.body)
    return attributes, delivery.body or b"null", "body"


def decode_base64(text: str, *, field: str) -> bytes:
    """The JSON text in a base64 string (RFC 4648 section 4).

    Raises:
        Rejected: the string is not base64, or does not encode text.
    """
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise Rejected(f"is not valid base64: {error}", field=field) from error
    check_text(data, field=field)
    return data


def _require_json(content_type: str | None, field: str) -> None:
    media_type = (content_type or "application/json").partition(";")[0].strip().lower()
    if media_type.endswith(("/json", "+json")):
        return
    raise Rejected(f"is {media_type!r}, but Helios only accepts JSON: send application/json", field=field, status=415)


def _cloud(attributes: _Attributes) -> Source:
    if attributes.cloud:
        return attributes.cloud
    for prefix, cloud in SOURCE_OF:
        if attributes.source.startswith(prefix):
            return cloud
    raise Rejected(
        f"is {attributes.source!r}, from which the cloud can't be derived: add the extension attribute `cloud` with "
        f"one of {', '.join(SOURCES)}",
        field="source",
    )
