"""A redacted field is replaced in the event itself, so no wrapping of the payload can keep its value."""

import base64
import json

import msgspec
import pytest

from helios.adapters.no_dedupe import NullDedupeCache
from helios.model.dead_letters import DeadLetterFilter
from helios.model.events import Delivery, EventFilter
from helios.normalise import NORMALISERS, normalise
from helios.normalise.redact import Redaction
from helios.services.ingest import ingest
from tests.fakes.store import MemoryStore
from tests.support import envelopes
from tests.support.deliveries import NOON

SECRET = "4111-1111"
REDACTION = Redaction(["card.number", "customer_id"])
PAYLOAD = {"order_id": "ORD-1", "customer_id": SECRET, "card": {"number": SECRET}, "amount": 10}


def encoded(value: object) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def push(payload: dict) -> dict:
    return envelopes.pubsub_push(envelopes.pubsub_message("1", json.dumps(payload).encode()))


def cloudevent(payload: dict) -> Delivery:
    """The CloudEvent of a Pub/Sub push, as base64."""
    event = envelopes.cloudevent(id="1", source="//pubsub.googleapis.com/t") | {"data_base64": encoded(push(payload))}
    del event["data"]
    return Delivery(channel="pubsub", body=json.dumps(event).encode(), received_at=NOON)


def attributes_only(payload: dict) -> Delivery:
    """A Pub/Sub message without data: its attributes are the payload, and their names may have dots."""
    attributes = {"card.number": payload["card"]["number"], "customer_id": payload["customer_id"], "n": payload["n"]}
    message = envelopes.pubsub_message("1", b"", attributes=attributes)
    return Delivery(channel="pubsub", body=json.dumps(envelopes.pubsub_push(message)).encode(), received_at=NOON)


def hidden(payload: dict) -> Delivery:
    """A wrapping that the redaction of bodies does not know: hexadecimal."""
    body = json.dumps({"id": "1", "hex": json.dumps(payload).encode().hex()}).encode()
    return Delivery(channel="eventbridge", body=body, received_at=NOON)


@pytest.fixture
def unknown_wrapping(monkeypatch):
    """Let the channel of EventBridge read ``hidden``."""
    genuine = NORMALISERS["eventbridge"]

    def read(delivery: Delivery):
        fields = json.loads(delivery.body)
        event = envelopes.eventbridge_event(fields["id"], detail=json.loads(bytes.fromhex(fields["hex"])))
        return genuine(msgspec.structs.replace(delivery, body=json.dumps(event).encode()))

    monkeypatch.setitem(NORMALISERS, "eventbridge", read)


@pytest.mark.parametrize("wrapped", [cloudevent, attributes_only, hidden])
@pytest.mark.usefixtures("unknown_wrapping")
def test_no_wrapping_keeps_the_value_of_a_redacted_field(wrapped):
    """Neither the event, its columns, nor the dead letter of a contradiction has the value."""
    store = MemoryStore()
    first, same, other = (wrapped(PAYLOAD | fields) for fields in ({"n": "1"}, {"n": "1"}, {"n": "2"}))
    outcomes = ingest([first, same, other], dedupe=NullDedupeCache(), store=store, redaction=REDACTION)

    (event,) = store.events(EventFilter(), after=None, limit=9).items
    (stored,) = store.dead_letters(DeadLetterFilter(), after=None, limit=9).items
    assert [outcome.status for outcome in outcomes] == ["stored", "duplicate", "contradictory"]
    assert event.customer_id in {None, "[redacted]"}
    for text in (
        bytes(event.data),
        stored.dead_letter.body,
        msgspec.json.encode([outcome.event for outcome in outcomes]),
    ):
        for form in (SECRET, SECRET.encode().hex(), encoded(PAYLOAD | {"n": "2"})[20:60]):
            assert form.encode() not in text


def test_two_events_that_differ_only_in_a_redacted_field_are_one():
    store = MemoryStore()
    deliveries = [cloudevent(PAYLOAD | {"customer_id": value}) for value in ("a", "b")]
    outcomes = ingest(deliveries, dedupe=NullDedupeCache(), store=store, redaction=REDACTION)

    assert [outcome.status for outcome in outcomes] == ["stored", "duplicate"]


@pytest.mark.parametrize("time", [{}, {"time": "2025-11-26T11:00:00Z"}, {"time": NOON.isoformat()}])
def test_a_redacted_event_equals_the_event_of_the_redacted_delivery(time):
    """Also its digest, whether the sender gave a time or not."""
    body = {"specversion": "1.0", "id": "1", "type": "T", "source": "s", "cloud": "aws", "data": PAYLOAD} | time
    delivery = Delivery(channel="cloudevents", body=json.dumps(body).encode(), received_at=NOON)
    redacted, event = REDACTION.read(delivery)

    assert event == normalise(redacted)
    assert SECRET not in redacted.body.decode()


def test_a_rejected_cloudevent_of_a_push_keeps_none_of_the_values():
    """A decoy at the place of a bare push does not make the dead letter keep the other payload."""
    event = json.loads(cloudevent(PAYLOAD).body) | push({"order_id": "decoy"})
    del event["id"]
    store = MemoryStore()
    delivery = Delivery(channel="pubsub", body=json.dumps(event).encode(), received_at=NOON)
    (outcome,) = ingest([delivery], dedupe=NullDedupeCache(), store=store, redaction=REDACTION)

    (stored,) = store.dead_letters(DeadLetterFilter(), after=None, limit=9).items
    assert outcome.status == "rejected"
    assert json.loads(delivery.body)["data_base64"].encode() not in stored.dead_letter.body
