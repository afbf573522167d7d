"""Azure: Event Grid events, in Event Grid's own schema or as CloudEvents, and the validation handshake."""

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Raw

from helios.errors import UNREADABLE
from helios.model.events import Delivery, Event
from helios.model.payload import inner_json
from helios.normalise import cloudevents
from helios.normalise.fields import Id, Name, Text, build, check_text, decode
from helios.normalise.replay_marks import PREFIX, original
from helios.normalise.times import read_time

VALIDATION: Final = "Microsoft.EventGrid.SubscriptionValidationEvent"

SHARED_IDS: Final = frozenset({"Microsoft.Devices.DeviceTelemetry"})
"""The types of Azure's own events whose id is not unique: an IoT hub gives the same one to messages that a device sends
fast. Their time distinguishes them."""


class _EventGridEvent(msgspec.Struct, rename="camel"):
    """Azure Event Grid documentation, "Azure Event Grid event schema"."""

    id: Id
    event_type: Name
    event_time: str
    subject: Text | None = None
    topic: Text | None = None
    data: Raw = Raw(b"null")
    data_version: str | None = None


class _PascalCase(msgspec.Struct, rename="pascal"):
    """The same event as publishers in .NET write it by hand, and Event Grid passes it on."""

    id: Id
    event_type: Name
    event_time: str
    subject: Text | None = None
    topic: Text | None = None
    data: Raw = Raw(b"null")
    data_version: str | None = None


class _ValidationData(msgspec.Struct):
    validation_code: str = msgspec.field(name="validationCode")


class _Validation(msgspec.Struct):
    event_type: str = msgspec.field(name="eventType")
    data: Raw


_event = msgspec.json.Decoder(_EventGridEvent)
_pascal_case = msgspec.json.Decoder(_PascalCase)
_validation = msgspec.json.Decoder(list[_Validation] | _Validation)
_validation_data = msgspec.json.Decoder(_ValidationData)


def normalise(delivery: Delivery) -> Event:
    """The event in an Event Grid event of either schema.

    Raises:
        Rejected: the delivery has neither schema.
    """
    if cloudevents.is_binary(delivery) or cloudevents.is_structured(delivery):
        content = cloudevents.read(delivery)
        event = cloudevents.event_of(delivery, content, "azure")
        time = content.attributes.time
        return msgspec.structs.replace(event, id=_identity(event.id, event.type, time)) if time else event
    return _from_event(delivery)


def _from_event(delivery: Delivery) -> Event:
    check_text(delivery.body)
    is_pascal_case = b'"EventType"' in delivery.body and b'"eventType"' not in delivery.body
    event = decode(_pascal_case, delivery.body) if is_pascal_case else decode(_event, delivery.body)
    # The provider's own UTC time: some of Azure's services leave out the Z.
    time = read_time(event.event_time, field="EventTime" if is_pascal_case else "eventTime", assume_utc=True)
    before = original(delivery.body)
    version = event.data_version or ""
    beside = {"dataVersion": version} if version and not version.startswith(PREFIX) else {}
    return build(
        delivery,
        source="azure",
        id=event.id if before else _identity(event.id, event.event_type, event.event_time),
        type=event.event_type,
        subject=before.subject if before else event.subject,
        time=before.time if before else time,
        producer=before.producer if before else event.topic or "",
        data=bytes(event.data),
        data_field="Data" if is_pascal_case else "data",
        attributes=before.attributes if before else beside,
    )


def _identity(id_: str, type_: str, time: str) -> str:
    return f"{id_}@{time}" if type_ in SHARED_IDS else id_


def validation_code(headers: Mapping[str, str], body: bytes) -> str | None:
    """The code to echo if this request is Event Grid's validation handshake, else None.

    Azure Event Grid documentation, "Endpoint validation with Event Grid event schema".
    """
    if headers.get("aeg-event-type", "SubscriptionValidation").lower() != "subscriptionvalidation":
        return None
    if VALIDATION.encode() not in body:
        return None
    try:
        validation = _validation.decode(body)
        first = validation[0] if isinstance(validation, list) else validation
        if first.event_type != VALIDATION:
            return None
        data = bytes(first.data)
        return _validation_data.decode(inner_json(data) or data).validation_code
    except (*UNREADABLE, IndexError):
        return None  # the caller reads the body as an event, and reports what is wrong with it
