"""Published bodies: parsed, checked against the topic's schema, and converted to the schema of a subscription.

An event is a table from field names to JSON texts, so that the publisher's values are delivered byte for byte: no
number is rounded, no key reordered.
"""

import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TypeVar

import msgspec
from msgspec import Raw

from local.emulators.eventgrid.errors import Refused
from local.emulators.eventgrid.topic import (
    InputSchema,
    MappedFields,
    SourceField,
    SourceFieldWithDefault,
    Topic,
)

Event = dict[str, Raw]
"""Field name to JSON text."""

MAX_REQUEST_BYTES = 1_048_576
"""Microsoft's "Azure Event Grid quotas and limits" for custom topics."""
MAX_EVENT_BYTES = 1_048_576
"""The same page."""

_REQUIRED = {
    "EventGridSchema": ("id", "subject", "eventType", "eventTime"),
    "CloudEventSchemaV1_0": ("id", "source", "specversion", "type"),
}
_OPTIONAL_TEXT = {
    "EventGridSchema": ("topic", "dataVersion", "metadataVersion"),
    "CloudEventSchemaV1_0": ("subject", "time", "datacontenttype", "dataschema", "data_base64"),
}
_TIME = {"EventGridSchema": "eventTime", "CloudEventSchemaV1_0": "time"}
_TYPE = {"EventGridSchema": "eventType", "CloudEventSchemaV1_0": "type"}
_MESSAGE_NAME = {
    "EventGridSchema": "EventGridEvent",
    "CloudEventSchemaV1_0": "CloudEventV10",
    "CustomEventSchema": "CustomEvent",
}
"""The names of the schemas in Event Grid's own messages."""
_EVENT_GRID_FIELDS = {*_REQUIRED["EventGridSchema"], *_OPTIONAL_TEXT["EventGridSchema"], "data"}
_CLOUD_EVENTS_NAME = re.compile(r"[a-z0-9]+|data_base64")

_Parsed = TypeVar("_Parsed")

_decode_array = msgspec.json.Decoder(list[Raw]).decode
_decode_event = msgspec.json.Decoder(Event).decode
_decode_text = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode


def read(body: bytes, content_type: str, topic: Topic) -> list[Event]:
    """The events in the body of a publish request, in Event Grid's schema or as CloudEvents.

    An event of a ``CustomEventSchema`` becomes an Event Grid event whose ``data`` is the whole published event.

    Raises:
        Refused: 400, the body does not conform to the schema; 413, the body or an event is too large.
    """
    if len(body) > MAX_REQUEST_BYTES:
        raise too_large("array", MAX_REQUEST_BYTES)
    schema = topic.input_schema
    try:
        body.decode()  # fields stay bytes, so no later step would notice invalid UTF-8
    except UnicodeDecodeError as error:
        raise _unfit(schema, "The JSON received is not UTF-8.") from error
    # A CloudEvents topic accepts one event, or an array if the content type says so; the other schemas only an array.
    batch = schema != "CloudEventSchemaV1_0" or "cloudevents-batch+json" in content_type.lower()
    texts: list[Raw] = _parsed(_decode_array, body, schema) if batch else [Raw(body)]
    if any(len(memoryview(text)) > MAX_EVENT_BYTES for text in texts):
        raise too_large("event", MAX_EVENT_BYTES)
    events = [_parsed(_decode_event, text, schema) for text in texts]
    if topic.input_schema_mapping is None:
        return [_checked(event, topic) for event in events]
    fields = topic.input_schema_mapping.properties
    return [_checked(_mapped(event, Raw(text), fields), topic) for event, text in zip(events, texts, strict=True)]


def _mapped(published: Event, whole: Raw, fields: MappedFields) -> Event:
    """The Event Grid event of a published event; Event Grid sets its id and its time if they are not mapped."""
    event = {"id": Raw(_encode(str(uuid.uuid4()))), "eventTime": Raw(_encode(datetime.now(UTC)))}
    sources: dict[str, SourceField | SourceFieldWithDefault | None] = {
        "id": fields.id,
        "topic": fields.topic,
        "eventTime": fields.event_time,
        "eventType": fields.event_type,
        "subject": fields.subject,
        "dataVersion": fields.data_version,
    }
    for name, source in sources.items():
        # A field without a mapping has its own name in the published event.
        value = _source_value(published, source or SourceField(source_field=name))
        if value is not None:
            event[name] = value
    return event | {"data": whole}


def _source_value(published: Event, source: SourceField | SourceFieldWithDefault) -> Raw | None:
    """The value of a mapped field: that of its source, else its default."""
    if source.source_field is not None and source.source_field in published:
        return published[source.source_field]
    default = source.default_value if isinstance(source, SourceFieldWithDefault) else None
    return None if default is None else Raw(_encode(default))


def too_large(what: str, limit: int) -> Refused:
    """The error for an array, or an event in it, above the limit."""
    return Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The {what} exceeds the maximum size ({limit} bytes).")


def text(event: Event, name: str) -> str | None:
    """The value of a string field; None if the field is missing or not a string."""
    raw = event.get(name)
    if raw is None:
        return None
    try:
        return _decode_text(raw)
    except msgspec.ValidationError:
        return None


def event_type(event: Event) -> str:
    """The event's type, in either schema."""
    name = _TYPE["CloudEventSchemaV1_0" if "specversion" in event else "EventGridSchema"]
    return text(event, name) or ""


def as_cloud_event(event: Event) -> Event:
    """The event in the CloudEvents 1.0 schema; an event in this schema is returned unchanged."""
    if "specversion" in event:
        return event
    names = {"id": "id", "topic": "source", "eventType": "type", "subject": "subject", "eventTime": "time"}
    converted = {"specversion": Raw(b'"1.0"')} | {new: event[old] for old, new in names.items() if old in event}
    return converted | ({"data": event["data"]} if "data" in event else {})


def _parsed(decode: Callable[[bytes | Raw], _Parsed], body: bytes | Raw, schema: InputSchema) -> _Parsed:
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        raise _unfit(schema, f"The JSON received does not conform to the expected schema: {error}.") from error
    except msgspec.DecodeError as error:
        raise _unfit(schema, f"The JSON received can't be read: {error}.") from error


def _checked(event: Event, topic: Topic) -> Event:
    schema = topic.input_schema
    form = "CloudEventSchemaV1_0" if schema == "CloudEventSchemaV1_0" else "EventGridSchema"
    for name in _REQUIRED[form]:
        if not text(event, name):
            raise _unfit(schema, f"The property '{name}' must be a string that is not empty.")
    for name in _OPTIONAL_TEXT[form]:
        if name in event and text(event, name) is None:
            raise _unfit(schema, f"The property '{name}' must be a string.")
    _check_time(event, _TIME[form], schema)
    return _checked_event_grid(event, topic) if form == "EventGridSchema" else _checked_cloud_event(event)


def _check_time(event: Event, name: str, schema: InputSchema) -> None:
    if name in event:
        try:
            msgspec.json.decode(event[name], type=datetime)
        except msgspec.ValidationError as error:
            raise _unfit(schema, f"The property '{name}' must be an ISO 8601 date and time.") from error


def _checked_event_grid(event: Event, topic: Topic) -> Event:
    """The event with the fields that Event Grid sets ("Azure Event Grid event schema": topic and versions)."""
    schema = topic.input_schema
    if unexpected := sorted(event.keys() - _EVENT_GRID_FIELDS):
        raise _unfit(
            schema,
            f"Received unexpected property '{unexpected[0]}' in JSON which does not conform to the expected schema.",
        )
    if text(event, "topic") not in (None, "", topic.id):
        raise _unfit(schema, f"The property 'topic' must be left out, or be {topic.id}.")
    if text(event, "metadataVersion") not in (None, "1"):
        raise _unfit(schema, "The property 'metadataVersion' must be left out, or be 1.")
    fields = {"topic": Raw(_encode(topic.id)), "metadataVersion": Raw(b'"1"')}
    return {"dataVersion": Raw(b'""')} | event | fields


def _checked_cloud_event(event: Event) -> Event:
    schema: InputSchema = "CloudEventSchemaV1_0"
    if text(event, "specversion") != "1.0":
        raise _unfit(schema, "The property 'specversion' must be 1.0.")
    for name in event:
        if not _CLOUD_EVENTS_NAME.fullmatch(name):
            raise _unfit(schema, f"'{name}' is not a CloudEvents attribute name: lower-case letters and digits.")
    if "data" in event and "data_base64" in event:
        raise _unfit(schema, "An event has 'data' or 'data_base64', not both.")
    return event


def _unfit(schema: InputSchema, problem: str) -> Refused:
    return Refused(
        HTTPStatus.BAD_REQUEST,
        f"This resource is configured for '{_MESSAGE_NAME[schema]}' schema. {problem}",
        detail="InputJsonInvalid",
    )
