"""Manifests through every channel, and what is wrong with those that can't be read."""

import json
from typing import Any

import pytest

from helios.errors import Rejected
from helios.model.balances import MANIFEST_TYPE, MAX_TYPES
from helios.model.events import Delivery
from helios.model.sources import ApiKey, SourceDeclaration
from helios.normalise import normalise
from helios.normalise.envelope import envelope_of
from helios.normalise.manifests import manifests_of
from helios.normalise.redact import Redaction
from helios.reconciliation.leg import Leg, leg_fault
from helios.sources.registry import CLOUDS
from tests.support.deliveries import NOON
from tests.support.envelopes import (
    CLOUDEVENT_PRODUCER,
    EVENTBRIDGE_PRODUCER,
    EVENTGRID_PRODUCER,
    PUBSUB_PRODUCER,
    cloudevent,
    cloudevent_headers,
    eventbridge_event,
    eventgrid_event,
    pubsub_message,
    pubsub_push,
)

COUNT: dict[str, Any] = {"type": "OrderPlaced", "published": 120, "repeated": 3}
DATA: dict[str, Any] = {"minute": "2025-11-26T12:00:00Z", "events": [COUNT]}


def delivery(channel: str, data: Any) -> Delivery:
    """A manifest through a channel."""
    text = json.dumps(data).encode()
    headers: dict[str, str] = {}
    match channel:
        case "eventbridge":
            body: Any = eventbridge_event(detail=data, detail_type=MANIFEST_TYPE)
        case "pubsub":
            body = pubsub_push(pubsub_message(data=text, attributes={"event_type": MANIFEST_TYPE}))
        case "eventgrid":
            body = eventgrid_event(data=data, eventType=MANIFEST_TYPE)
        case "cloudevents":
            body = cloudevent(data=data, type=MANIFEST_TYPE)
        case _:
            body, headers = data, cloudevent_headers(type=MANIFEST_TYPE)
    channel = "cloudevents" if channel == "binary" else channel
    return Delivery(channel=channel, body=json.dumps(body).encode(), headers=headers, received_at=NOON)  # type: ignore[arg-type]


CHANNELS = {
    "eventbridge": ("aws", EVENTBRIDGE_PRODUCER, "detail."),
    "pubsub": ("gcp", PUBSUB_PRODUCER, "message.data."),
    "eventgrid": ("azure", EVENTGRID_PRODUCER, "data."),
    "cloudevents": ("aws", CLOUDEVENT_PRODUCER, "data."),
    "binary": ("aws", CLOUDEVENT_PRODUCER, ""),
}


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_manifest_arrives_through_every_channel(channel):
    source, producer, _ = CHANNELS[channel]

    (manifest,) = manifests_of([normalise(delivery(channel, DATA))])

    assert (manifest.source, manifest.producer, manifest.minute) == (source, producer, NOON)
    assert (manifest.type, manifest.published, manifest.repeated) == ("OrderPlaced", 120, 3)


@pytest.mark.parametrize("channel", CHANNELS)
def test_what_is_wrong_is_named_in_the_words_of_the_sender(channel):
    with pytest.raises(Rejected) as error:
        normalise(delivery(channel, DATA | {"minute": "2025-11-26T12:00:07Z"}))

    assert error.value.field == f"{CHANNELS[channel][2]}minute"
    assert error.value.reason == (
        "is '2025-11-26T12:00:07Z', within a minute: send its beginning, such as 2025-11-26T12:00:00Z"
    )


@pytest.mark.parametrize(
    ("data", "field", "reason"),
    [
        ({"events": DATA["events"]}, "minute", "is missing"),
        (DATA | {"minute": "noon"}, "minute", "is not a time of RFC 3339"),
        (DATA | {"minute": "2025-11-26T12:00:00"}, "minute", "has no offset from UTC"),
        (DATA | {"minute": "2025-11-28T12:00:00Z"}, "minute", "is more than a day in the future"),
        (DATA | {"event": []}, "event", "is unknown: remove it"),
        (DATA | {"events": []}, "events", "is invalid"),
        (DATA | {"events": [COUNT] * (MAX_TYPES + 1)}, "events", "is invalid"),
        (DATA | {"events": [COUNT, COUNT]}, "events[1].type", "is 'OrderPlaced' a second time"),
        (DATA | {"events": [{"type": "T", "published": -1}]}, "events[0].published", "is invalid"),
        (DATA | {"events": [{"type": "T", "published": "9"}]}, "events[0].published", "is a string: send a number"),
        (DATA | {"events": [{"type": "T", "published": 1, "repeated": 2}]}, "events[0].repeated", "is greater than"),
        (DATA | {"events": [{"type": MANIFEST_TYPE, "published": 1}]}, "events[0].type", "is the type of manifests"),
        (DATA | {"skew_seconds": 31}, "skew_seconds", "is invalid"),
        ([1], "data", "is an array: send an object"),
    ],
)
def test_a_wrong_manifest_is_rejected_with_its_field(data, field, reason):
    with pytest.raises(Rejected) as error:
        normalise(delivery("cloudevents", data))

    assert error.value.field == (field if field == "data" else f"data.{field}")
    assert error.value.reason.startswith(reason)


def test_of_manifests_with_one_identity_the_greatest_revision_counts():
    first = normalise(delivery("eventbridge", DATA))
    second = normalise(delivery("eventbridge", DATA | {"revision": 1, "events": [{"type": "T", "published": 1}]}))
    third = normalise(delivery("eventbridge", DATA | {"revision": 2, "events": [COUNT | {"published": 9}]}))

    declared = {manifest.type: manifest.published for manifest in manifests_of([third, first, second])}

    assert declared == {"OrderPlaced": 9, "T": 1}


def test_a_manifest_with_a_field_that_must_not_be_stored_becomes_a_dead_letter():
    _, event = Redaction(["minute"]).read(delivery("eventbridge", DATA))

    with pytest.raises(Rejected):
        manifests_of([event])


def test_no_leg_of_a_flow_may_have_the_type_of_manifests():
    legs = [Leg(name="order", type="OrderPlaced"), Leg(name="counts", type=MANIFEST_TYPE)]

    assert leg_fault(legs, CLOUDS) == (
        "leg[1].type",
        "leg 'counts': manifests belong to no flow: name another type",
    )


@pytest.mark.parametrize(
    ("channel", "body", "type_"),
    [
        ("eventbridge", json.dumps(eventbridge_event()).replace("10.0", "NaN"), "OrderPlaced"),
        ("pubsub", json.dumps(pubsub_push(pubsub_message(data=b"{", attributes={"event_type": "Paid"}))), "Paid"),
        ("eventgrid", json.dumps(eventgrid_event()).replace('"id"', '"identity"'), "InventoryReserved"),
        ("cloudevents", json.dumps(cloudevent(time="2025-11-26T12:00:00Z", id="")), "OrderPlaced"),
        ("eventbridge", "{", None),
    ],
)
def test_the_type_of_an_unreadable_delivery_is_that_of_its_envelope(channel, body, type_):
    unreadable = Delivery(channel=channel, body=body.encode(), received_at=NOON)
    with pytest.raises(Rejected):
        normalise(unreadable)

    assert envelope_of(unreadable).type == type_
    assert abs((envelope_of(unreadable).time - NOON).total_seconds()) < 2


@pytest.mark.parametrize(("type_", "headers"), [("kind", {}), ("header:X-Topic", {"x-topic": "paid"}), ("=paid", {})])
def test_the_type_of_an_unreadable_delivery_of_a_declared_source_is_where_its_declaration_says(type_, headers):
    declaration = SourceDeclaration(name="shop", proof=ApiKey(header="x-key"), type=type_)
    unreadable = Delivery(
        channel="webhook",
        body=b'{"kind":"paid","a":NaN}',
        headers=headers,
        received_at=NOON,
        declaration=declaration,
    )

    assert envelope_of(unreadable).type == "paid"
