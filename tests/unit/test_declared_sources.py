"""Webhooks of declared sources: what was verified is what is stored, and where the declaration says."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest
import stripe
from starlette.testclient import TestClient

from helios.errors import ConfigurationError
from helios.model.dead_letters import DeadLetterFilter
from helios.model.events import Event, EventFilter
from helios.settings import Settings
from tests.fakes.store import MemoryStore
from tests.support import envelopes
from tests.support.services import bearer, client_of, in_memory

SOURCES = """
[[source]]
name = "stripe"
preset = "stripe"

[[source]]
name = "shop"
label = "Shop"
preset = "shopify"

[[source]]
name = "github"
preset = "github"

[[source]]
name = "slack"
proof = "slack"
id = "event_id"
type = "event.type"
time = "event_time"
data = "event"

[[source]]
name = "warehouse"
proof = { scheme = "api_key", header = "x-token" }
id = "id"
type = "=Picked"
time = "at"

[[source]]
name = "partner"
channel = "cloudevents"
proof = { scheme = "hmac", header = "x-signature" }
order = "order.number"

[[source]]
name = "closed"
preset = "github"
"""
SECRETS = {
    "stripe": "whsec_secret_of_stripe",  # pragma: allowlist secret
    "shop": "secret-of-the-shop",
    "github": "secret-of-github",
    "slack": "secret-of-slack-app",
    "warehouse": "secret-of-the-warehouse",
    "partner": "secret-of-the-partner",
}
PAID = {
    "id": "evt_1",
    "object": "event",
    "api_version": "2025-09-30.clover",
    "created": 1764158400,
    "livemode": False,
    "pending_webhooks": 1,
    "request": {"id": "req_1", "idempotency_key": None},
    "type": "payment_intent.succeeded",
    "data": {
        "object": {
            "id": "pi_1",
            "amount": 1099,
            "currency": "usd",
            "customer": "cus_1",
            "metadata": {"order_id": "ORD-1"},
        },
        "previous_attributes": {"status": "processing"},
    },
}


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def make_client(store, tmp_path) -> Iterator[Callable[..., TestClient]]:
    file = tmp_path / "sources.toml"
    file.write_text(SOURCES)
    opened = []

    def make(**more: Any) -> TestClient:
        secrets = " ".join(f"{name}={secret}" for name, secret in SECRETS.items())
        fields = {"webhook_auth": "closed", "sources_file": str(file), "source_secrets": secrets} | more
        settings = msgspec.convert({"database_url": "postgresql://nowhere"} | fields, Settings)
        client = client_of(in_memory(store, settings), url="http://api.example", sender="192.0.2.1")
        opened.append(client)
        return client.__enter__()

    yield make
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def client(make_client) -> TestClient:
    return make_client()


def post_stripe(
    client: TestClient, event: dict | str, *, secret: str = SECRETS["stripe"], path: str = "stripe", **headers
):
    body, timestamp = event if isinstance(event, str) else json.dumps(event), int(time.time())
    signature = stripe.WebhookSignature._compute_signature(f"{timestamp}.{body}", secret)
    return client.post(
        f"/api/v1/webhooks/{path}",
        content=body,
        headers={"content-type": "application/json", "stripe-signature": f"t={timestamp},v1={signature}"} | headers,
    )


def digest(source: str, body: str) -> bytes:
    return hmac.new(SECRETS[source].encode(), body.encode(), hashlib.sha256).digest()


def events(store: MemoryStore) -> list[Event]:
    return store.events(EventFilter(), after=None, limit=20).items


def test_an_event_of_stripe_is_stored_with_the_parts_that_the_preset_names(client, store):
    answer = post_stripe(client, PAID)

    assert (answer.status_code, answer.json()["status"]) == (200, "stored")
    (event,) = events(store)
    assert event.key == ("stripe", "stripe", "evt_1")
    assert (event.type, event.time.isoformat()) == ("payment_intent.succeeded", "2025-11-26T12:00:00+00:00")
    assert (event.order_id, event.customer_id, event.amount) == ("ORD-1", "cus_1", Decimal("10.99"))
    assert json.loads(bytes(event.data)) == PAID["data"]


def test_nothing_beside_the_payload_is_lost(client, store):
    post_stripe(client, PAID)

    assert events(store)[0].attributes == {
        "object": "event",
        "api_version": "2025-09-30.clover",
        "livemode": "false",
        "pending_webhooks": "1",
        "request": '{"id":"req_1","idempotency_key":null}',
    }


def test_a_second_delivery_is_a_duplicate_although_its_envelope_differs(client):
    """Stripe counts pending_webhooks down; that is no part of the event."""
    answers = [post_stripe(client, PAID | {"pending_webhooks": count}) for count in (2, 1)]

    assert [answer.json()["status"] for answer in answers] == ["stored", "duplicate"]


@pytest.mark.parametrize(
    ("amount", "currency", "expected"), [(1099, "jpy", "1099"), (1099, "kwd", "1.099"), (-5, "eur", "-0.05")]
)
def test_minor_units_follow_the_currency(client, store, amount, currency, expected):
    paid = {"id": "1", "type": "t", "data": {"object": {"amount": amount, "currency": currency}}}
    post_stripe(client, paid)

    assert events(store)[0].amount == Decimal(expected)


def test_a_number_that_no_decimal_can_hold_is_no_amount(client, store):
    paid = json.dumps(PAID).replace("1099", "1e-99999999999999999999")

    assert post_stripe(client, paid).json()["status"] == "stored"
    assert (events(store)[0].order_id, events(store)[0].amount) == ("ORD-1", None)


def test_a_wrong_signature_stores_nothing(client, store):
    answer = post_stripe(client, PAID, secret="whsec_another_secret")

    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert "stripe-signature does not match t in header stripe-signature and the body" in answer.json()["detail"]
    assert events(store) == []
    assert store.dead_letters(DeadLetterFilter(), after=None, limit=9).items == []


def test_credentials_of_one_source_open_no_other(client):
    assert post_stripe(client, PAID, path="github").status_code == 401


def test_without_credentials_a_request_is_401(client):
    answer = client.post("/api/v1/webhooks/stripe", json=PAID)

    assert (answer.status_code, answer.json()["detail"]) == (401, "Missing credentials for this endpoint.")


def test_two_secrets_are_valid_while_a_key_rotates(make_client):
    client = make_client(source_secrets="stripe=whsec_the_older_secret stripe=whsec_the_newer_secret")

    assert post_stripe(client, PAID, secret="whsec_the_older_secret").json()["status"] == "stored"
    assert post_stripe(client, PAID, secret="whsec_the_newer_secret").json()["status"] == "duplicate"
    assert post_stripe(client, PAID).status_code == 401


def test_a_source_without_a_secret_is_closed(client):
    answer = client.post("/api/v1/webhooks/closed", json={}, headers={"x-hub-signature-256": "sha256=00"})

    assert answer.status_code == 403
    assert answer.json()["detail"] == "This endpoint is closed. To open it, add closed=SECRET to HELIOS_SOURCE_SECRETS."


@pytest.mark.parametrize("name", ["strype", "aws", "unknown", "A%20b"])
def test_an_undeclared_source_is_404_and_names_no_declared_one(client, name):
    answer = client.post(f"/api/v1/webhooks/{name}", json=PAID)

    assert answer.status_code == 404
    assert "GET /api/v1/sources lists the declared ones" in answer.json()["detail"]
    assert not any(declared in answer.text for declared in ("stripe", "shop", "github", "slack", "warehouse"))


def test_without_a_file_every_source_is_404(make_client):
    answer = make_client(sources_file=None, source_secrets=None).post("/api/v1/webhooks/stripe", json=PAID)

    assert (answer.status_code, "is declared. GET /api/v1/sources" in answer.json()["detail"]) == (404, True)


def test_a_body_that_is_too_large_is_413(make_client):
    answer = post_stripe(make_client(max_body_bytes=1024), PAID | {"note": "x" * 2000})

    assert answer.status_code == 413


def test_an_event_of_shopify_has_its_id_and_type_in_headers(client, store):
    body = json.dumps({"id": 820982911946154508, "total_price": "199.00", "currency": "USD", "customer": {"id": 7}})
    headers = {
        "x-shopify-hmac-sha256": base64.b64encode(digest("shop", body)).decode(),
        "x-shopify-topic": "orders/create",
        "x-shopify-webhook-id": "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043",
        "x-shopify-triggered-at": "2025-11-26T12:00:00.123456789Z",
        "x-forwarded-for": "203.0.113.1",
        "content-type": "application/json",
    }
    answer = client.post("/api/v1/webhooks/shop", content=body, headers=headers)

    assert answer.json()["status"] == "stored"
    (event,) = events(store)
    assert event.key == ("shop", "shop", "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043")
    assert (event.type, event.order_id, event.customer_id, event.amount) == (
        "orders/create",
        "820982911946154508",
        "7",
        Decimal("199.00"),
    )
    assert bytes(event.data) == body.encode()


def test_a_ping_of_github_is_an_event(client, store):
    body = json.dumps({"zen": "Keep it logically awesome.", "hook_id": 1, "repository": {"full_name": "shop/site"}})
    headers = {
        "x-hub-signature-256": f"sha256={digest('github', body).hex()}",
        "x-github-event": "ping",
        "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        "content-type": "application/json",
    }

    assert client.post("/api/v1/webhooks/github", content=body, headers=headers).json()["status"] == "stored"
    assert events(store)[0].key == ("github", "shop/site", "72d3162e-cc78-11e3-81ab-4c9367dc0958")


def test_slacks_check_of_the_endpoint_is_answered_and_stores_nothing(client, store):
    body = json.dumps({"token": "t", "challenge": "echo me", "type": "url_verification"})
    timestamp = str(int(time.time()))
    headers = {
        "x-slack-request-timestamp": timestamp,
        "x-slack-signature": f"v0={digest('slack', f'v0:{timestamp}:{body}').hex()}",
        "content-type": "application/json",
    }
    answer = client.post("/api/v1/webhooks/slack", content=body, headers=headers)

    assert (answer.status_code, answer.json(), events(store)) == (200, {"challenge": "echo me"}, [])


def test_an_api_key_and_a_type_that_is_the_same_for_all(client, store):
    times = ["2025-11-26 12:00:00", "2025-11-26T13:00:00+01:00", 1764158400, 1764158400000, 1764158400.5, None]
    bodies = [{"id": number, "at": at} for number, at in enumerate(times)]
    headers = {"x-token": SECRETS["warehouse"]}
    answer = client.post("/api/v1/webhooks/warehouse", json=bodies, headers=headers)

    assert [result["status"] for result in answer.json()["results"]] == ["stored"] * 6
    by_id = {event.id: event for event in events(store)}
    assert {event.type for event in by_id.values()} == {"Picked"}
    noon = "2025-11-26T12:00:00+00:00"
    assert [by_id[str(number)].time.isoformat() for number in range(4)] == [noon] * 4
    assert by_id["4"].time.isoformat() == "2025-11-26T12:00:00.500000+00:00"
    assert by_id["5"].time == by_id["5"].received_at
    assert client.post("/api/v1/webhooks/warehouse", json={}, headers={"x-token": "wrong"}).status_code == 401


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ('{"at": 1}', "id", "is missing"),
        ('{"id": null}', "id", "is missing"),
        ('{"id": {"a": 1}}', "id", "must be text or a number"),
        ('{"id": true}', "id", "must be text or a number"),
        (json.dumps({"id": "x" * 513}), "id", "has 513 characters: send at most 512"),
        ('{"id": "1", "at": "yesterday"}', "at", "is not a time of RFC 3339"),
        ('{"id": "1", "at": [1]}', "at", "is 'list': send RFC 3339"),
        ('{"id": "1", "at": 1e300}', "at", "send RFC 3339"),
        ('{"id": "1", "at": -1e30}', "at", "send RFC 3339"),
        ("7", "id", "is missing"),
        ("null", "id", "is missing"),
        ('{"id": 1,}', "body", "is not valid JSON"),
        ('{"id": "a\\u0000"}', "id", "contains a NUL character"),
    ],
)
def test_a_body_that_can_not_be_read_is_a_dead_letter_of_its_source(client, store, body, field, reason):
    headers = {"x-token": SECRETS["warehouse"], "content-type": "application/json"}
    answer = client.post("/api/v1/webhooks/warehouse", content=body, headers=headers)

    assert answer.status_code == 400
    (fault,) = answer.json()["errors"]
    assert (fault["field"], reason in fault["reason"]) == (field, True), fault
    (stored,) = store.dead_letters(DeadLetterFilter(source="warehouse"), after=None, limit=9).items
    assert (stored.dead_letter.channel, stored.dead_letter.body) == ("webhook", body.encode())


def test_a_sender_that_would_repeat_a_dead_letter_gets_200_and_the_reason(client, store):
    answer = post_stripe(client, {"id": "evt_2", "data": {}})

    assert (answer.status_code, answer.json()["status"], answer.json()["field"]) == (200, "rejected", "type")


def test_a_dead_letter_is_replayed_by_the_declaration_of_its_source(client, store):
    post_stripe(client, {"id": "evt_2", "data": {"object": {}}})
    (stored,) = store.dead_letters(DeadLetterFilter(), after=None, limit=9).items

    repaired = json.dumps(PAID)
    answer = client.post(f"/api/v1/dead-letters/{stored.id}/replay", json={"body": repaired}, headers=bearer("replay"))
    assert answer.json()["status"] == "stored"
    assert events(store)[0].order_id == "ORD-1"


def test_a_dead_letter_of_a_source_that_is_no_longer_declared_stays_one(client, make_client, store):
    post_stripe(client, {"id": "evt_2", "data": {"object": {}}})
    (stored,) = store.dead_letters(DeadLetterFilter(), after=None, limit=9).items

    without = make_client(sources_file=None, source_secrets=None)
    answer = without.post(f"/api/v1/dead-letters/{stored.id}/replay", headers=bearer("replay"))
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "source")
    assert "is not declared any more" in answer.json()["detail"]


def test_cloudevents_of_a_declared_source_need_no_cloud(client, store):
    event = envelopes.cloudevent(id="1", source="https://partner.example", cloud=None) | {
        "data": {"order": {"number": "ORD-9"}}
    }
    body = json.dumps({name: value for name, value in event.items() if value is not None})
    headers = {"content-type": "application/cloudevents+json", "x-signature": digest("partner", body).hex()}
    answer = client.post("/api/v1/webhooks/partner", content=body, headers=headers)

    assert answer.json()["status"] == "stored"
    (stored,) = events(store)
    assert (stored.key, stored.order_id) == (("partner", "https://partner.example", "1"), "ORD-9")


def test_the_api_lists_the_sources_with_their_looks(client):
    listed = client.get("/api/v1/sources", headers=bearer("read")).json()

    assert [source["name"] for source in listed][:4] == ["aws", "gcp", "azure", "stripe"]
    assert listed[3] == {"name": "stripe", "label": "Stripe", "colour": "pink", "shape": "square", "built_in": False}
    assert len({(source["colour"], source["shape"]) for source in listed}) == len(listed)
    assert client.get("/api/v1/sources").status_code == 401


def test_counts_metrics_and_filters_know_a_declared_source(client):
    post_stripe(client, PAID)
    post_stripe(client, {"id": "evt_2", "data": {}})
    read = bearer("read")

    assert client.get("/api/v1/stats", headers=read).json()["events_by_source"] == {
        "aws": 0, "gcp": 0, "azure": 0, "stripe": 1, "shop": 0, "github": 0, "slack": 0, "warehouse": 0, "partner": 0,
        "closed": 0,
    }  # fmt: skip
    assert len(client.get("/api/v1/events?source=stripe", headers=read).json()["items"]) == 1
    assert client.get("/api/v1/events?source=aws", headers=read).json()["items"] == []
    assert client.get("/api/v1/events?source=no%20name", headers=read).status_code == 422
    assert len(client.get("/api/v1/dead-letters?source=stripe", headers=read).json()["items"]) == 1
    assert client.get("/api/v1/events/stripe/evt_1?producer=stripe", headers=read).json()["order_id"] == "ORD-1"
    missing = client.get("/api/v1/events/paypal/evt_1?producer=x", headers=read)
    assert (missing.status_code, "The sources are aws, gcp, azure, stripe" in missing.json()["detail"]) == (404, True)
    metrics = client.get("/metrics", headers=read).text
    assert 'helios_deliveries_total{channel="webhook/stripe",status="stored"} 1.0' in metrics
    assert 'helios_admissions_total{authenticator="stripe",channel="webhook/stripe",result="admitted"} 2.0' in metrics
    assert 'helios_source_silent{source="stripe"} 0.0' in metrics


def test_a_source_that_was_removed_keeps_its_events(client, make_client):
    post_stripe(client, PAID)
    without = make_client(sources_file=None, source_secrets=None)

    assert without.get("/api/v1/stats", headers=bearer("read")).json()["events_by_source"]["stripe"] == 1
    assert len(without.get("/api/v1/events?source=stripe", headers=bearer("read")).json()["items"]) == 1


@pytest.mark.parametrize(
    ("secrets", "message"),
    [
        ("paypal=a-secret-of-paypal", "NAME is a declared source"),
        ("a-secret-without-a-name", "write NAME=SECRET"),
        ("stripe=short", "the secret of stripe has fewer than 16 characters"),
    ],
)
def test_a_wrong_entry_of_the_secrets_is_a_configuration_error(make_client, secrets, message):
    with pytest.raises(ConfigurationError, match=f"HELIOS_SOURCE_SECRETS: .*{message}") as error:
        make_client(source_secrets=secrets)
    assert "a-secret" not in str(error.value)


def test_printing_the_settings_shows_no_secret_of_a_source():
    settings = Settings(database_url="postgresql://db", source_secrets="stripe=whsec_secret_of_stripe")

    assert "whsec" not in repr(settings)
