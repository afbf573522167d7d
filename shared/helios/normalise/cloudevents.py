"""CloudEvents 1.0 over HTTP, in structured and binary mode, from any cloud."""

import binascii
import re
from collections.abc import Mapping
from typing import Annotated, Final, NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Meta, Raw

from helios.errors import Rejected, quote
from helios.model.events import MAX_TEXT_CHARS, Delivery, Event
from helios.model.sources import BUILT_IN, BuiltIn, Source
from helios.normalise.beside import as_texts, attributes_of
from helios.normalise.declared import with_payload_fields
from helios.normalise.fields import BOM, Id, Name, Text, build, check_text, decode, explain
from helios.normalise.times import read_time

PRODUCER_EXTENSION: Final = "heliosproducer"
"""The extension attribute with the producer of an event that Helios sends, if its ``source`` had to be changed."""

EVENT_FORMATS: Final = "application/cloudevents"
"""How the content types of structured and batch mode begin."""

BATCH_FORMATS: Final = "application/cloudevents-batch"

CLOUD: Final = "cloud"
"""The extension attribute of Helios that names the cloud."""

SOURCE_OF: Final[tuple[tuple[re.Pattern[str], BuiltIn], ...]] = (
    # Partitions of AWS: aws, aws-cn, aws-us-gov, aws-iso. CloudEvents' own adapters for AWS begin with ``aws:``.
    (re.compile(r"arn:aws[a-z-]*:|aws[.:]"), "aws"),
    (re.compile(r"//[a-z0-9-]+\.googleapis\.com/"), "gcp"),
    # Azure compares the names in a resource id without case; IoT Hub writes them in capitals.
    (re.compile(r"/subscriptions/", re.IGNORECASE), "azure"),
    (re.compile(r"https://management\.(azure\.com|usgovcloudapi\.net|chinacloudapi\.cn)/", re.IGNORECASE), "azure"),
)
"""How ``source`` begins in the clouds' own CloudEvents."""

DEFINED: Final = frozenset(
    ("id", "source", "type", "specversion", "subject", "time", "datacontenttype", "data", "data_base64")
)
"""The members of a CloudEvent that have a field in ``Event``; all others are extensions, or ``dataschema``."""

_MARKS: Final = frozenset(("heliosreplay", PRODUCER_EXTENSION))
"""Extension attributes that Helios itself adds to what it sends."""

_JSON: Final = "application/json"
_QUOTED_PAIR: Final = re.compile(r"\\(.)", re.DOTALL)
_STANDARD_ALPHABET: Final = bytes.maketrans(b"-_", b"+/")
_SPACE: Final = re.compile(rb"\s+")


class Attributes(msgspec.Struct):
    """CloudEvents 1.0, "Context Attributes"."""

    id: Id
    source: Annotated[str, Meta(min_length=1, max_length=MAX_TEXT_CHARS)]
    type: Name
    specversion: str
    subject: Text | None = None
    time: str | None = None
    datacontenttype: str | None = None


class _Structured(Attributes):
    data: Raw = Raw()
    data_base64: str | None = None


class Content(NamedTuple):
    """A CloudEvent.

    Attributes:
        attributes: the attributes that the specification defines.
        beside: the extension attributes, ``dataschema``, and a ``datacontenttype`` other than application/json.
        data: the data as JSON text; ``null`` if there is none.
        data_field: the sender's name of the data.
        prefix: what precedes the name of an attribute in an error.
    """

    attributes: Attributes
    beside: dict[str, str]
    data: bytes
    data_field: str
    prefix: str


class _Peek(msgspec.Struct):
    specversion: Raw = Raw()


_peek = msgspec.json.Decoder(_Peek)
_structured = msgspec.json.Decoder(_Structured)
_members = msgspec.json.Decoder(dict[str, Raw])


def normalise(delivery: Delivery) -> Event:
    """The event in a CloudEvent, with the cloud that its ``cloud`` or ``source`` attribute names.

    Raises:
        Rejected: the delivery is not a CloudEvent, its data is not JSON, or it names no known cloud.
    """
    event = event_of(delivery, read(delivery), delivery.declaration.name if delivery.declaration else None)
    return with_payload_fields(event, delivery.declaration) if delivery.declaration else event


def event_of(delivery: Delivery, content: Content, source: Source | None) -> Event:
    """The event in a CloudEvent that was read.

    Args:
        delivery: the delivery.
        content: what ``read`` found in it.
        source: the source that uses the endpoint; None: the CloudEvent names its cloud.

    Raises:
        Rejected: see ``normalise``.
    """
    attributes = content.attributes
    named = _named_cloud(content.beside)
    time = attributes.time
    producer = content.beside.get(PRODUCER_EXTENSION, attributes.source)
    if len(producer) > MAX_TEXT_CHARS:
        raise Rejected(f"is longer than {MAX_TEXT_CHARS} characters", field=f"{content.prefix}{PRODUCER_EXTENSION}")
    return build(
        delivery,
        source=source or named or _cloud(content),
        id=attributes.id,
        type=attributes.type,
        subject=attributes.subject,
        time=read_time(time, field=f"{content.prefix}time") if time else None,
        producer=producer,
        data=content.data,
        data_field=content.data_field,
        attributes=attributes_of(without_marks(content.beside)),
    )


def is_binary(delivery: Delivery) -> bool:
    """Whether the attributes are in ``ce-`` headers."""
    return is_binary_mode(delivery.headers)


def is_binary_mode(headers: Mapping[str, str]) -> bool:
    """Whether the attributes of a request are its ``ce-`` headers.

    The content type decides: in structured mode the headers may repeat the attributes, and the body is what counts
    (CloudEvents HTTP Protocol Binding 1.0.2, sections 3 and 3.2.3).
    """
    required = ("ce-id", "ce-specversion", "ce-type", "ce-source")
    return not names_cloudevent(headers.get("content-type", "")) and any(name in headers for name in required)


def names_cloudevent(content_type: str) -> bool:
    """Whether a content type is one of structured or batch mode."""
    return content_type.strip().lower().startswith(EVENT_FORMATS)


def is_structured(delivery: Delivery) -> bool:
    """Whether the body itself is a CloudEvent.

    Raises:
        Rejected: the body is not JSON.
    """
    if names_cloudevent(delivery.headers.get("content-type", "")):
        return True
    # The cheap test first: nearly every body of the other formats lacks the word.
    return b'"specversion"' in delivery.body and bool(decode(_peek, delivery.body).specversion)


def read(delivery: Delivery) -> Content:
    """The CloudEvent in a delivery.

    Raises:
        Rejected: the delivery is not a CloudEvent, or its data is not JSON.
    """
    if is_binary(delivery):
        return _read_binary(delivery)
    check_text(delivery.body)
    return read_structured(delivery.body, within="")


def read_structured(text: bytes, *, within: str) -> Content:
    """The CloudEvent in the JSON of structured mode.

    Args:
        text: UTF-8 JSON.
        within: the field that contains the text, in the sender's spelling; empty for the body itself.

    Raises:
        Rejected: the text is not a CloudEvent, or its data is not JSON.
    """
    event = decode(_structured, text, within=within)
    prefix = f"{within}." if within else ""
    _require_version(event.specversion, f"{prefix}specversion")
    _require_json(event.datacontenttype, f"{prefix}datacontenttype")
    members: dict[str, Raw] = decode(_members, text)
    beside = as_texts(members, without=DEFINED)
    if event.data_base64 is None:
        data, field = bytes(event.data) or b"null", f"{prefix}data"
    elif event.data:
        raise Rejected("is sent together with data: send one of the two", field=f"{prefix}data_base64")
    else:
        field = f"{prefix}data_base64"
        data = decode_base64(event.data_base64, field=field) or b"null"
    return Content(event, beside | _content_type(event.datacontenttype), data, field, prefix)


def _read_binary(delivery: Delivery) -> Content:
    """Read binary mode: CloudEvents HTTP Protocol Binding 1.0.2, section 3.1."""
    values = {
        name[3:]: read_header(value, field=f"header {name}")
        for name, value in delivery.headers.items()
        if name.startswith("ce-")
    }
    try:
        attributes = msgspec.convert(values, Attributes)
    except msgspec.ValidationError as error:
        reason, field = explain(str(error))
        raise Rejected(reason, field=f"header ce-{field}") from error
    content_type = delivery.headers.get("content-type")
    _require_version(attributes.specversion, "header ce-specversion")
    _require_json(content_type, "header content-type")
    check_text(delivery.body)
    beside = {name: value for name, value in values.items() if name not in DEFINED}
    beside |= _content_type(content_type)
    return Content(attributes, beside, delivery.body.strip() or b"null", "body", "header ce-")


def without_marks(attributes: Mapping[str, str]) -> dict[str, str]:
    """The attributes without those that Helios itself adds to what it sends."""
    if not attributes:
        return {}
    left_out = _MARKS | {CLOUD} if _named_cloud(attributes) else _MARKS
    return {name: value for name, value in attributes.items() if name not in left_out}


def read_header(value: str, *, field: str) -> str:
    """The text in a ``ce-`` header: without double quotes, and percent-decoded (section 3.1.3.2).

    The SDKs for Go and Java send UTF-8 as it is. The servers read each byte as a character.

    Raises:
        Rejected: the value encodes no UTF-8.
    """
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = _QUOTED_PAIR.sub(r"\1", value[1:-1])
    if "%" not in value and value.isascii():
        return value
    try:
        raw = value.encode("latin-1")
    except UnicodeEncodeError:  # the server has decoded it
        raw = value.encode()
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError as error:
        raise Rejected("is not UTF-8: percent-encode its UTF-8", field=field) from error


def decode_base64(text: str, *, field: str) -> bytes:
    """The JSON text in a base64 string, of either alphabet, with or without padding and line breaks.

    ProtoJSON lets a reader accept all of these forms (RFC 4648, sections 4 and 5).

    Raises:
        Rejected: the string is not base64, or does not encode text.
    """
    try:
        data = binascii.a2b_base64(text, strict_mode=True)  # the usual form
    except (binascii.Error, ValueError):
        data = _decode_any_base64(text, field)
    data = data.removeprefix(BOM)
    check_text(data, field=field)
    return data


def _decode_any_base64(text: str, field: str) -> bytes:
    compact = _SPACE.sub(b"", text.encode()).translate(_STANDARD_ALPHABET).rstrip(b"=")
    try:
        return binascii.a2b_base64(compact + b"=" * (-len(compact) % 4), strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise Rejected(f"is not valid base64: {str(error).lower()}", field=field) from error


def _require_version(specversion: str, field: str) -> None:
    if not specversion.startswith("1."):
        raise Rejected(f"is {quote(specversion)}: send a CloudEvent of version 1.0", field=field)


def _require_json(content_type: str | None, field: str) -> None:
    media_type = _media_type(content_type)
    if media_type.endswith(("/json", "+json")):
        return
    raise Rejected(
        f"is {quote(media_type)}, but Helios only accepts JSON: send application/json", field=field, status=415
    )


def _media_type(content_type: str | None) -> str:
    return (content_type or _JSON).partition(";")[0].strip().lower() or _JSON


def _content_type(content_type: str | None) -> dict[str, str]:
    """The content type as an attribute, unless it is the usual one."""
    media_type = _media_type(content_type)
    return {} if media_type == _JSON else {"datacontenttype": media_type}


def _named_cloud(attributes: Mapping[str, str]) -> BuiltIn | None:
    """The cloud that the extension ``cloud`` names. Other senders use an attribute of this name for other things."""
    value = attributes.get(CLOUD, "").lower()
    return next((source for source in BUILT_IN if source == value), None)


def _cloud(content: Content) -> BuiltIn:
    source = content.attributes.source
    for pattern, cloud in SOURCE_OF:
        if pattern.match(source):
            return cloud
    raise Rejected(
        f"is {quote(source)}, from which the cloud can't be derived: add the extension attribute `cloud` with "
        f"one of {', '.join(BUILT_IN)}",
        field=f"{content.prefix}source",
    )
