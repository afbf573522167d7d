"""The webhooks' answers by credentials. Helios stores nothing of a refused request."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from standardwebhooks.webhooks import Webhook
from starlette.testclient import TestClient

from helios.settings import Settings
from tests.fakes.store import MemoryStore
from tests.support import envelopes
from tests.support.listener import listening
from tests.support.services import bearer, client_of, in_memory

AWS = "/api/v1/webhooks/aws/eventbridge"
GCP = "/api/v1/webhooks/gcp/pubsub"
AZURE = "/api/v1/webhooks/azure/eventgrid"
CLOUDEVENTS = "/api/v1/webhooks/cloudevents"
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
LIMIT = 4096
EVENT = json.dumps(envelopes.eventbridge_event())
CLOUDEVENT = json.dumps(envelopes.cloudevent())
VALIDATION = json.dumps(envelopes.eventgrid_validation("echo me"))
AUTHENTICATED = Settings(
    database_url="postgresql://nowhere",
    max_body_bytes=LIMIT,
    webhook_auth="eventbridge=key,sns eventgrid=secret cloudevents=hmac",
    sns_topics="arn:aws:sns:eu-central-1:123456789012:orders",
    eventbridge_secret="new old",
    eventgrid_secret="grid",
    cloudevents_secret=SECRET,
)


def client_on(
    store: MemoryStore, settings: Settings, *, url: str = "http://api.example", sender: str = "192.0.2.1"
) -> TestClient:
    return client_of(in_memory(store, settings), url=url, sender=sender)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def client(store) -> Iterator[TestClient]:
    with client_on(store, AUTHENTICATED) as api_client:
        yield api_client


def signed(body: str) -> dict:
    now = datetime.now(UTC)
    return {
        "webhook-id": "m",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("m", now, body),
    }


@pytest.mark.parametrize(
    ("url", "body", "headers", "status"),
    [
        (AWS, EVENT, {"x-helios-key": "new"}, 202),
        (AWS, EVENT, {"x-helios-key": "old"}, 202),
        (AWS, EVENT, {"x-helios-key": "wrong"}, 401),
        (AWS, EVENT, {}, 401),
        (AWS, "{", {}, 401),
        (AWS, "{}", {"x-amz-sns-message-type": "Notification"}, 401),
        (AWS, "x" * (LIMIT + 1), {"x-amz-sns-message-type": "Notification"}, 413),
        (GCP, "{}", {}, 403),
        (GCP, "{}", {"authorization": "Bearer a.b.c"}, 403),
        (AZURE, VALIDATION, {}, 401),
        (AZURE, VALIDATION, {"x-helios-key": "wrong"}, 401),
        (AZURE, VALIDATION, {"x-helios-key": "grid"}, 200),
        (CLOUDEVENTS, CLOUDEVENT, {}, 401),
        (AWS, "x" * (LIMIT + 1), {}, 401),
    ],
)
def test_a_request_without_valid_credentials_is_refused(client, url, body, headers, status):
    check_answer(client, url, body, headers, status)


@pytest.mark.parametrize(
    ("body", "signed_body", "status"),
    [(CLOUDEVENT, CLOUDEVENT, 202), (CLOUDEVENT, "{}", 401), ("x" * (LIMIT + 1), "x" * (LIMIT + 1), 413)],
)
def test_a_signature_of_another_body_is_refused(client, body, signed_body, status):
    check_answer(client, CLOUDEVENTS, body, signed(signed_body), status)


def test_a_signed_body_that_is_sent_again_is_a_duplicate(client):
    """The signature is valid within the tolerance. Helios stores an event once, so it needs no list of message ids."""
    headers = {"content-type": "application/json"} | signed(CLOUDEVENT)

    assert [client.post(CLOUDEVENTS, content=CLOUDEVENT, headers=headers).json()["status"] for _ in range(2)] == [
        "stored",
        "duplicate",
    ]


def check_answer(client: TestClient, url: str, body: str, headers: dict, status: int) -> None:
    answer = client.post(url, content=body, headers={"content-type": "application/json"} | headers)

    assert answer.status_code == status
    if status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert "echo me" not in answer.text
        assert client.get("/api/v1/stats", headers=bearer("read")).json()["total_events"] == 0
        assert client.get("/api/v1/dead-letters", headers=bearer("read")).json()["items"] == []


@pytest.mark.parametrize(
    ("url", "headers", "status"),
    [
        (AZURE, {"x-helios-key": "grid"}, 200),
        (AZURE, {"x-helios-key": "wrong"}, 401),
        (AZURE, {}, 401),
        (CLOUDEVENTS, {}, 401),
        (CLOUDEVENTS, None, 200),
    ],
)
def test_only_a_permitted_sender_gets_consent_in_the_handshake(client, url, headers, status):
    """The CloudEvents handshake has an empty body, which the signature covers."""
    headers = signed("") if headers is None else headers
    answer = client.options(url, headers=headers | {"webhook-request-origin": "eventgrid.azure.net"})

    assert answer.status_code == status
    assert answer.headers.get("webhook-allowed-origin") == ("eventgrid.azure.net" if status == 200 else None)


def test_a_closed_channel_gives_no_consent(store):
    with client_on(store, Settings(database_url="postgresql://nowhere", webhook_auth="closed")) as client:
        answer = client.options(CLOUDEVENTS, headers={"webhook-request-origin": "eventgrid.azure.net"})

    assert (answer.status_code, "webhook-allowed-origin" in answer.headers) == (403, False)


def test_results_of_webhook_authenticators_are_counted(client):
    client.post(AWS, content=EVENT, headers={"x-helios-key": "new"})
    client.post(AWS, content=EVENT, headers={"x-helios-key": "wrong"})
    client.post(GCP, content="{}")
    metrics = client.get("/metrics", headers=bearer("read")).text

    for authenticator, result, channel in [
        ("key", "admitted", "eventbridge"),
        ("key", "wrong_key", "eventbridge"),
        ("", "closed", "pubsub"),
    ]:
        assert (
            f'helios_admissions_total{{authenticator="{authenticator}",channel="{channel}",result="{result}"}} 1.0'
            in metrics
        )


LOOPBACK = Settings(
    database_url="postgresql://nowhere", webhook_auth="eventbridge=key", eventbridge_secret="s", trust_loopback=True
)


@pytest.mark.parametrize(
    ("url", "sender", "headers", "status"),
    [
        ("http://127.0.0.1:8001", "127.0.0.1", {}, 202),
        ("http://127.0.0.1:8001", "127.0.0.1", {"host": "localhost:8001"}, 202),
        ("http://127.0.0.1:8001", "127.0.0.1", {"host": "rebound.example"}, 401),
        ("http://127.0.0.1:8001", "127.0.0.1", {"origin": "http://localhost:5173"}, 202),
        ("http://127.0.0.1:8001", "127.0.0.1", {"origin": "https://elsewhere.example"}, 401),
        ("http://127.0.0.1:8001", "127.0.0.1", {"origin": "null"}, 401),
        ("http://127.0.0.1:8001", "127.0.0.1", {"origin": "http://[::1"}, 401),
        ("http://127.0.0.1:8001", "127.0.0.1", {"origin": "https://elsewhere.example", "x-helios-key": "s"}, 202),
        ("http://127.0.0.1:8001", "127.0.0.1", {"host": "LOCALHOST"}, 202),
        ("http://127.0.0.1:8001", "127.0.0.1", {"host": "[::1]:8001"}, 202),
        ("http://127.0.0.1:8001", "127.0.0.1", {"host": "a{b.evil.example"}, 401),
        ("http://127.0.0.1:8001", "127.0.0.1", {"host": "evil.example/@127.0.0.1"}, 401),
        ("http://127.0.0.1:8001", "127.0.0.1", {"host": "localhost:80:80"}, 401),
        ("http://127.0.0.1:8001", "127.0.0.1", {"host": "localhost evil.example"}, 401),
        ("http://127.0.0.1:8001", "127.0.0.1", {"host": "::1"}, 401),
        ("http://127.0.0.1:8001", "127.0.0.1", {"host": "127.0.0.1."}, 401),
        ("http://127.0.0.1:8001", "127.0.0.1", {"host": ""}, 401),
        ("http://127.0.0.1:8001", "127.0.0.1", [("host", "localhost"), ("host", "evil.example")], 401),
        (
            "http://127.0.0.1:8001",
            "127.0.0.1",
            [("origin", "http://localhost"), ("origin", "http://evil.example")],
            401,
        ),
        ("http://127.0.0.1:8001", "192.0.2.1", {}, 401),
        ("http://192.0.2.7:8001", "192.0.2.7", {}, 401),
        ("http://127.0.0.1:8001", "127.0.0.1", {"x-helios-key": "s"}, 202),
        ("http://127.0.0.1:8001", "127.0.0.1", {"x-helios-key": "wrong"}, 401),
    ],
)
def test_only_loopback_may_send_without_credentials_and_wrong_credentials_are_refused(
    store, url, sender, headers, status
):
    with client_on(store, LOOPBACK, url=url, sender=sender) as client:
        assert client.post(AWS, content=EVENT, headers=headers).status_code == status


def test_a_pubsub_push_is_verified_with_the_keys_at_the_url_and_undecided_without_them(store):
    """PyJWT makes the token here. google-auth makes it in the emulator's tests."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    now = int(datetime.now(UTC).timestamp())
    token = jwt.encode(
        {
            "iss": "https://accounts.google.com",
            "aud": "helios",
            "email": "e@x",
            "email_verified": True,
            "iat": now,
            "exp": now + 60,
        },
        key,
        algorithm="RS256",
        headers={"kid": "1"},
    )
    public_key = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": "1"}
    push = envelopes.pubsub_push()

    def answer(keys_url: str) -> int:
        settings = Settings(
            database_url="postgresql://nowhere",
            webhook_auth="pubsub=oidc",
            pubsub_audience="helios",
            pubsub_service_account="e@x",
            pubsub_keys_url=keys_url,
        )
        with client_on(store, settings) as client:
            return client.post(GCP, json=push, headers={"authorization": f"Bearer {token}"}).status_code

    with listening(200, {}, json.dumps({"keys": [public_key]}).encode()) as url:
        assert answer(url) == 200
    assert answer(url) == 503


def test_the_api_may_have_all_webhooks_closed(store):
    settings = Settings(database_url="postgresql://nowhere", webhook_auth="closed")
    with client_on(store, settings) as client:
        answer = client.post(AWS, content=EVENT)

    assert answer.status_code == 403
