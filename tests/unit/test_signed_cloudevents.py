"""A CloudEvent's signature covers its body, so nothing in an unsigned header may become part of the event."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook
from starlette.testclient import TestClient

from helios.model.dead_letters import DeadLetterFilter
from helios.model.events import Delivery, EventFilter, Key
from helios.normalise import normalise, split
from helios.settings import Settings
from tests.fakes.store import MemoryStore
from tests.support import envelopes
from tests.support.deliveries import NOON
from tests.support.services import client_of, in_memory

CLOUDEVENTS = "/api/v1/webhooks/cloudevents"
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
GENUINE = envelopes.cloudevent(id="genuine", cloud="gcp", source="shop")
FORGED = {"ce-specversion": "1.0", "ce-id": "forged", "ce-type": "OrderPlaced", "ce-source": "x", "ce-cloud": "aws"}
STRUCTURED = "application/cloudevents+json; charset=utf-8"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def client(store) -> Iterator[TestClient]:
    settings = Settings(database_url="postgresql://nowhere", webhook_auth="cloudevents=hmac", cloudevents_secret=SECRET)
    with client_of(in_memory(store, settings), url="http://api.example", sender="192.0.2.1") as opened:
        yield opened


def post(client: TestClient, body: str, headers: dict[str, str], *, id_: str = "m"):
    now = datetime.now(UTC)
    signature = {
        "webhook-id": id_,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign(id_, now, body),
    }
    return client.post(CLOUDEVENTS, content=body, headers=signature | headers)


def stored_keys(store: MemoryStore) -> list[Key]:
    return [event.key for event in store.events(EventFilter(), after=None, limit=9).items]


def test_attributes_in_headers_change_nothing_of_a_signed_structured_event(client, store):
    """A captured request with ``ce-`` headers added is the same event, and so a duplicate."""
    body = json.dumps(GENUINE)
    answers = [post(client, body, {"content-type": STRUCTURED} | added) for added in ({}, FORGED)]

    assert [answer.json()["status"] for answer in answers] == ["stored", "duplicate"]
    assert stored_keys(store) == [("gcp", "shop", "genuine")]


def test_a_header_that_no_signature_covers_is_not_stored(client, store):
    """A replay mark, for example, would take a duplicate out of the evidence of its order."""
    post(client, "{}", {"content-type": STRUCTURED, "ce-heliosreplay": "1", "x-goog-pubsub-message-id": "1"})
    (stored,) = store.dead_letters(DeadLetterFilter(), after=None, limit=9).items

    assert stored.dead_letter.headers == {"content-type": STRUCTURED}


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "text/plain"])
def test_binary_mode_is_answered_415_behind_a_signature(client, store, content_type):
    """Its attributes are headers, so one signature would hold for any number of events."""
    for body in (json.dumps({"order_id": "ORD-1"}), json.dumps(GENUINE)):
        answer = post(client, body, {"content-type": content_type} | FORGED)

        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (415, "header content-type")
    assert stored_keys(store) == []


def test_the_signature_of_an_empty_body_stores_no_event(client, store):
    """The handshake carries one, which a copy of the handshake could present with attributes in headers."""
    assert post(client, "", {"content-type": "application/json"} | FORGED).status_code == 415
    assert post(client, "", {"content-type": STRUCTURED} | FORGED).status_code == 400
    assert stored_keys(store) == []


def delivery(channel, body: str, headers: dict[str, str]) -> Delivery:
    return Delivery(channel=channel, body=body.encode(), headers=headers, received_at=NOON)


@pytest.mark.parametrize("channel", ["cloudevents", "eventgrid"])
@pytest.mark.parametrize("content_type", [STRUCTURED, "Application/CloudEvents+JSON", "application/cloudevents+json"])
def test_the_content_type_decides_that_a_cloudevent_is_structured(channel, content_type):
    """CloudEvents HTTP Protocol Binding, section 3.2.3: a structured event may repeat its attributes in headers."""
    event = normalise(delivery(channel, json.dumps(GENUINE), {"content-type": content_type} | FORGED))

    assert (event.id, event.producer) == ("genuine", "shop")


def test_the_content_type_decides_that_a_pubsub_cloudevent_is_structured():
    """The push is in ``data``; the headers repeat the attributes."""
    push = envelopes.pubsub_push(envelopes.pubsub_message("genuine"))
    event = normalise(delivery("pubsub", json.dumps(GENUINE | {"data": push}), {"content-type": STRUCTURED} | FORGED))

    assert (event.id, event.producer) == ("genuine", "shop")


def test_an_array_in_binary_mode_is_the_data_of_one_event():
    """Only the content type of batch mode makes it several events; here all would have the same id."""
    deliveries = split("cloudevents", b"[1, 2]", FORGED | {"content-type": "application/json"}, NOON)

    assert [bytes(normalise(part).data) for part in deliveries] == [b"[1, 2]"]


def test_a_batch_is_split_although_headers_repeat_attributes():
    headers = FORGED | {"content-type": "application/cloudevents-batch+json"}
    deliveries = split("cloudevents", json.dumps([GENUINE, GENUINE | {"id": "2"}]).encode(), headers, NOON)

    assert [normalise(part).id for part in deliveries] == ["genuine", "2"]
