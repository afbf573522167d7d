"""Redaction removes a configured value from every stored body and envelope, and leaves all other bytes unchanged."""

import base64
import hashlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helios import bootstrap
from helios.adapters.no_dedupe import NullDedupeCache
from helios.errors import ConfigurationError
from helios.model.dead_letters import DeadLetterFilter
from helios.model.events import Delivery, EventFilter, Fault
from helios.normalise import normalise
from helios.normalise.redact import Redaction
from helios.services.ingest import ingest
from helios.settings import Settings
from tests.fakes.store import MemoryStore
from tests.support.deliveries import NOON

SECRET = "4111-1111"
PAYLOAD = '{"order_id": "ORD-1", "amount": 10.00, "card": {"number": "4111-1111"}, "items": [{"note": "4111-1111"}, 1]}'
REDACTED = b'{"order_id":"ORD-1","amount":10.00,"card":{"number":"[redacted]"},"items":[{"note":"[redacted]"},1]}'
REDACTION = Redaction(["card.number", "items.note", "nowhere.at.all", "order_id.inside"])
BASE64 = base64.b64encode(PAYLOAD.encode()).decode()
TIME = "2025-11-26T12:00:00Z"
EVENTBRIDGE = f'{{"id": "1", "detail-type": "T", "source": "s", "time": "{TIME}", "detail": {PAYLOAD}}}'
SNS = json.dumps({"Type": "Notification", "TopicArn": "arn:aws:sns:r:1:t", "MessageId": "1", "Message": EVENTBRIDGE})
CLOUDEVENT = '{"specversion": "1.0", "id": "1", "type": "T", "source": "arn:aws:s3:::b", %s}'
BINARY = {"ce-specversion": "1.0", "ce-id": "1", "ce-type": "T", "ce-source": "arn:aws:s3:::b"}
GRID = '{"id": "1", "eventType": "T", "subject": "s", "topic": "t", "eventTime": "2025-11-26T12:00:00Z", "data": %s}'


def delivery(channel, body: str, headers=None) -> Delivery:
    return Delivery(channel=channel, body=body.encode(), headers=headers or {}, received_at=NOON)


WRAPPED = [
    delivery("eventbridge", EVENTBRIDGE),
    delivery("eventbridge", SNS),
    delivery("eventgrid", GRID % PAYLOAD),
    delivery("pubsub", f'{{"message": {{"messageId": "1", "publishTime": "{TIME}", "data": "{BASE64}"}}}}'),
    delivery(
        "pubsub",
        f'{{"specversion": "1.0", "id": "1", "type": "google.cloud.pubsub.topic.v1.messagePublished", "source": "/t", '
        f'"data": {{"message": {{"messageId": "1", "publishTime": "{TIME}", "data": "{BASE64}"}}}}}}',
    ),
    delivery("eventgrid", CLOUDEVENT % f'"data": {PAYLOAD}'),
    delivery("pubsub", PAYLOAD, {"x-goog-pubsub-message-id": "1", "x-goog-pubsub-publish-time": TIME}),
    delivery("cloudevents", CLOUDEVENT % f'"data": {PAYLOAD}'),
    delivery("cloudevents", CLOUDEVENT % f'"data_base64": "{BASE64}", "datacontenttype": "application/json"'),
    delivery("cloudevents", PAYLOAD, BINARY | {"content-type": "application/json"}),
]


@pytest.mark.parametrize("original", WRAPPED)
def test_values_are_redacted_before_the_event_is_parsed(original):
    redacted = REDACTION(original)

    assert bytes(normalise(redacted).data) == REDACTED
    assert SECRET.encode() not in redacted.body
    assert BASE64.encode() not in redacted.body
    assert normalise(redacted).id == normalise(original).id


@pytest.mark.parametrize(
    "payload",
    [
        '{"card": {"number": "4111-1111"}, "card": {}}',
        '{"card": {"number": "4111-1111"}, "card": {"number": "x"}}',
        '{"card": {"number": "4111-1111", "number": "x"}}',
        '{"card": {"number": "4111-1111"}, "c\\u0061rd": 1}',
        '{"items": [{"note": "4111-1111", "note": 1}]}',
    ],
)
def test_every_occurrence_of_a_repeated_name_is_redacted(payload):
    """A JSON parser reads only the last occurrence."""
    event = EVENTBRIDGE.replace(PAYLOAD, payload)
    twice = event.replace('"detail": ', f'"detail": {PAYLOAD}, "detail": ')
    for body in (event, twice):
        redacted = REDACTION(delivery("eventbridge", body))
        assert SECRET.encode() not in redacted.body
        assert normalise(redacted).id == "1"


def test_dead_letters_of_contradictory_and_rejected_events_are_redacted():
    store = MemoryStore()
    other = EVENTBRIDGE.replace("10.00", "11")
    poison = EVENTBRIDGE.replace('"id": "1", ', "")
    for body in (EVENTBRIDGE, other, poison):
        ingest([delivery("eventbridge", body)], dedupe=NullDedupeCache(), store=store, redaction=REDACTION)

    (event,) = store.events(EventFilter(), after=None, limit=9).items
    dead_letters = store.dead_letters(DeadLetterFilter(), after=None, limit=9).items
    assert {stored.dead_letter.status for stored in dead_letters} == {"contradictory", "rejected"}
    assert not [stored for stored in dead_letters if SECRET.encode() in stored.dead_letter.body]
    assert SECRET.encode() not in bytes(event.data)


FAULT = Fault(reason="is larger than 4096 bytes", field="body", status=413)
UNREADABLE = [
    delivery("eventbridge", EVENTBRIDGE.replace("10.00", "NaN")),
    delivery("eventbridge", EVENTBRIDGE[:-4]),
    delivery("eventbridge", SNS.replace("10.00", "NaN")),
    delivery("cloudevents", EVENTBRIDGE),
    delivery("cloudevents", PAYLOAD.replace("10.00", "NaN"), BINARY),
    delivery("cloudevents", PAYLOAD, {"content-type": "text/html"}),
    delivery("eventgrid", (GRID % PAYLOAD).replace("10.00", "NaN")),
    delivery("eventgrid", f"<{PAYLOAD}>"),
    delivery("pubsub", f'{{"message": {{"messageId": "1", "data": "{BASE64}%"}}}}'),
    delivery("pubsub", f'{{"message": {{"text": {PAYLOAD}}}}}'),
    delivery("pubsub", PAYLOAD[:-1], {"x-goog-pubsub-message-id": "1"}),
    msgspec.structs.replace(delivery("eventbridge", EVENTBRIDGE), fault=FAULT),
]


@pytest.mark.parametrize("unreadable", UNREADABLE)
def test_an_unreadable_body_is_stored_as_its_size_digest_and_reason_only(unreadable):
    store = MemoryStore()
    (outcome,) = ingest([unreadable], dedupe=NullDedupeCache(), store=store, redaction=REDACTION)

    (stored,) = store.dead_letters(DeadLetterFilter(), after=None, limit=9).items
    text = stored.dead_letter.body.decode()
    assert (outcome.status, stored.dead_letter.reason) == ("rejected", outcome.reason)
    assert f"{len(unreadable.body)} bytes, SHA-256 {hashlib.sha256(unreadable.body).hexdigest()}" in text
    assert SECRET not in text
    assert BASE64 not in text


def test_without_redaction_an_unreadable_body_is_stored_unchanged():
    store = MemoryStore()
    ingest([UNREADABLE[0]], dedupe=NullDedupeCache(), store=store)

    (stored,) = store.dead_letters(DeadLetterFilter(), after=None, limit=9).items
    assert stored.dead_letter.body == UNREADABLE[0].body


@pytest.mark.parametrize("name", ["mail", "card.number"])
@pytest.mark.parametrize("data", ["", BASE64])
def test_a_pubsub_attribute_is_redacted(name, data):
    attributes = json.dumps({name: SECRET, "event_type": "T"})
    message = f'{{"messageId": "1", "publishTime": "{TIME}", "attributes": {attributes}, "data": "{data}"}}'
    redacted = Redaction(["mail", "card.number", "items.note"])(delivery("pubsub", f'{{"message": {message}}}'))

    assert normalise(redacted).type == "T"
    assert SECRET.encode() not in redacted.body + bytes(normalise(redacted).data)


@pytest.mark.parametrize("body", ["", "{", "[1", '"text"', "null", '{"detail": 3}', '{"message": {"data": "%%%"}}'])
@pytest.mark.parametrize("channel", ["eventbridge", "eventgrid", "pubsub", "cloudevents"])
def test_a_body_without_the_fields_stays_byte_for_byte(channel, body):
    assert REDACTION(delivery(channel, body)).body == body.encode()


@given(st.binary(max_size=100))
def test_no_bytes_make_redaction_raise(body):
    for channel in ("eventbridge", "eventgrid", "pubsub", "cloudevents"):
        for change in (Redaction(["a", "a.b"]), Redaction(["a", "a.b"]).for_dead_letter):
            change(Delivery(channel=channel, body=body, headers={}, received_at=NOON))


@pytest.mark.parametrize("path", ["order_id", "amount", "quantity"])
def test_a_field_that_a_flow_reads_can_not_be_redacted(path):
    with pytest.raises(ConfigurationError, match=f"HELIOS_REDACT: {path} is read by the flow 'order'"):
        bootstrap.build(Settings(database_url="postgresql://nowhere", redact=f"card.number {path}"))


TENANT = "tenant-4711"
STRUCTURED = {"specversion": "1.0", "id": "1", "source": "aws.s", "type": "T", "tenant": TENANT}
MESSAGE = {"message": {"messageId": "1", "attributes": {"tenant": TENANT}, "data": "e30="}}


@pytest.mark.parametrize(
    "sent",
    [
        delivery("cloudevents", PAYLOAD, BINARY | {"ce-tenant": TENANT}),
        delivery("cloudevents", json.dumps(STRUCTURED)),
        delivery("pubsub", json.dumps(MESSAGE)),
        delivery("pubsub", "{}", {"x-goog-pubsub-message-id": "1", "tenant": TENANT}),
        delivery("eventbridge", EVENTBRIDGE, {"sqs-tenant": TENANT}),
    ],
    ids=["binary", "structured", "wrapped", "unwrapped", "SQS"],
)
def test_an_attribute_beside_the_payload_is_redacted(sent):
    """In the event, and in the dead letter of a contradictory delivery."""
    redacted, event = Redaction(["tenant"]).read(sent)

    assert event.attributes["tenant"] == "[redacted]"
    assert TENANT not in redacted.body.decode() + str(redacted.headers)


@pytest.mark.parametrize("name", ["order_id", "orderId", "OrderId"])
def test_a_field_is_redacted_in_every_spelling(name):
    """Helios finds it in every spelling, so it must hide it in each."""
    sent = delivery("eventbridge", EVENTBRIDGE.replace("order_id", name))
    redacted, event = Redaction(["order_id"]).read(sent)

    assert (event.order_id, json.loads(bytes(event.data))[name]) == ("[redacted]", "[redacted]")
    assert json.loads(redacted.body)["detail"][name] == "[redacted]"
