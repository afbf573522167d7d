"""The simulator's requests have the form of each cloud's requests: the normalisers of Helios accept them."""

import json
from datetime import UTC, datetime

import pytest

from helios.errors import Rejected
from helios.model.events import Channel, Delivery
from helios.model.sources import BUILT_IN, Source
from helios.normalise import normalise
from scripts.simulator import envelopes
from scripts.simulator.plan import Emission
from scripts.simulator.poisons import ENVELOPE_POISONS, PAYLOAD_POISONS, POISONS
from tests.simulator.support import START, drain, schedule

CHANNELS: dict[Source, Channel] = {"aws": "eventbridge", "gcp": "pubsub", "azure": "eventgrid"}


def deliver(emission: Emission) -> Delivery:
    """The delivery of the event at its webhook, without Event Grid's array around it."""
    body = envelopes.body(emission)
    if emission.source == "azure" and body.startswith(b"[") and body.endswith(b"]"):
        body = body[1:-1]
    return Delivery(channel=CHANNELS[emission.source], body=body, received_at=datetime.now(UTC))


def an_order(**planned) -> dict[str, Emission]:
    """The legs of one order by source."""
    return {emission.source: emission for emission in drain(schedule(most_orders=1, error_rate=0, **planned))}


@pytest.mark.parametrize("source", BUILT_IN)
def test_an_envelope_has_all_fields_of_the_event(source):
    emission = an_order()[source]
    event = normalise(deliver(emission))

    assert (event.source, event.id, event.type) == (source, emission.id, emission.type)
    assert event.order_id == emission.order_id
    assert bytes(event.data) == emission.data
    expected = emission.time.replace(microsecond=0) if source == "aws" else emission.time
    assert event.time == expected


def test_an_eventbridge_event_has_exactly_the_documented_fields():
    body = json.loads(envelopes.body(an_order()["aws"]))

    assert list(body) == ["version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"]
    assert body["time"] == START.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_push_has_exactly_the_documented_fields():
    """The CloudEvent id identifies a republished message, and the message id a redelivered one."""
    body = json.loads(envelopes.body(an_order()["gcp"]))
    message = body["message"]

    assert set(body) == {"message", "subscription"}
    assert set(message) == {"attributes", "data", "messageId", "message_id", "publishTime", "publish_time"}
    assert message["messageId"] == message["message_id"]
    assert message["messageId"].isdecimal()
    assert message["publishTime"] == message["publish_time"]
    assert message["attributes"]["ce-specversion"] == "1.0"


def test_an_event_grid_delivery_is_an_array_with_exactly_the_documented_fields():
    (event,) = json.loads(envelopes.body(an_order()["azure"]))

    assert set(event) == {
        "id",
        "topic",
        "subject",
        "eventType",
        "eventTime",
        "data",
        "dataVersion",
        "metadataVersion",
    }


def test_a_duplicate_has_the_same_body():
    """A contradictory event has another body."""
    for emission in drain(schedule(most_events=2000, error_rate=0.5)):
        if emission.original and emission.injection:
            same = envelopes.body(emission) == envelopes.body(emission.original)
            assert same == (emission.injection.anomaly == "duplicate")


@pytest.mark.parametrize(
    ("source", "poison"), [(source, poison) for source in BUILT_IN for poison in POISONS["webhook"][source]]
)
def test_every_poison_is_rejected(source, poison):
    emission = an_order()[source]
    emission.poison = poison
    if poison in PAYLOAD_POISONS:
        emission.data = PAYLOAD_POISONS[poison](emission.data)

    with pytest.raises(Rejected):
        normalise(deliver(emission))


@pytest.mark.parametrize(
    ("source", "poison"), [(source, poison) for source in BUILT_IN for poison in POISONS["cloud"][source]]
)
def test_a_poison_for_a_cloud_is_accepted_by_the_cloud(source, poison):
    """The poison is in the payload. On AWS and Azure the payload is valid JSON, because those clouds check that."""
    assert poison in PAYLOAD_POISONS
    assert poison not in ENVELOPE_POISONS
    poisoned = PAYLOAD_POISONS[poison](an_order()[source].data)
    if source != "gcp":
        json.loads(poisoned)
