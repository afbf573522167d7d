"""Azure: Event Grid events, in Event Grid's own schema or as CloudEvents, and the validation handshake."""

from collections.abc import Mapping

import msgspec
from msgspec import Raw

from helios.errors import UNREADABLE
from helios.model.events import Delivery, Event
from helios.normalise import cloudevents
from helios.normalise.fields import Id, Name, Text, Time, build, check_text, decode
from helios.normalise.replay_marks import had_no_time

VALIDATION = "Microsoft.EventGrid.SubscriptionValidationEvent"


class _EventGridEvent(msgspec.Struct):
    """Azure Event Grid documentation, "Azure Event Grid event schema"."""

    id: Id
    event_type: Name = msgspec.field(name="eventType")
    event_time: Time = msgspec.field(name="eventTime")
    subject: Text = ""
    topic: Text = ""
    data: Raw = Raw(b"null")


class _ValidationData(msgspec.Struct):
    validation_code: str = msgspec.field(name="validationCode")


class _Validation(msgspec.Struct):
    event_type: str = msgspec.field(name="eventType")
    data: _ValidationData


_event = msgspec.json.Decoder(_EventGridEvent)
_validation = msgspec.json.Decoder(list[_Validation] | _Validation)


def normalise(delivery: Delivery) -> Event:
    """The event in an Event Grid event of either schema.

    Raises:
        Rejected: the delivery has neither schema.
    """
    if cloudevents.is_binary(delivery) or cloudevents.is_structured(delivery):
        return cloudevents.normalise_from(delivery, "azure")
    check_text(delivery.body)
    event = decode(_event, delivery.body)
    return build(
        delivery,
        source="azure",
        id=event.id,
        type=event.event_type,
        subject=event.subject,
        time=None if had_no_time(delivery.body) else event.event_time,
        origin=event.topic,
        data=bytes(event.data),
        data_field="data",
    )


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
    except UNREADABLE:
        return None  # the caller reads the body as an event, and reports what is wrong with it
    first = validation[0] if isinstance(validation, list) else validation
    return first.data.validation_code if first.event_type == VALIDATION else None
