"""Access to the API: tokens, tickets, scopes and rate limits, and the answers to refused requests."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from helios.api import access
from helios.errors import Retryable
from helios.model.tokens import PREFIX, TicketHolder
from helios.settings import Settings
from scripts.build.openapi import document
from tests.fakes.store import MemoryStore
from tests.support.listener import listening
from tests.support.services import bearer, client_of, in_memory

pytestmark = pytest.mark.usefixtures("within_a_minute")

CLOSED = Settings(database_url="postgresql://nowhere", webhook_auth="closed")
SPARING = msgspec.structs.replace(CLOSED, rate_per_minute=3)
NOTIFY = "r" * 32
STATS = "/api/v1/stats"
TICKETS = "/api/v1/ws/tickets"
WATCH = "ws://api.example/api/v1/ws/events"
PUBLIC = {"/api/v1/health", "/api/v1/health/detailed"}
"""Endpoints that need no credentials."""

PATHS = json.loads(document())["paths"]
PROTECTED = [
    (method, path.replace("{source}", "aws").replace("{id}", "1"))
    for path, methods in PATHS.items()
    for method in methods
    if "/webhooks/" not in path and path not in PUBLIC
]


@pytest.fixture
def client() -> Iterator[TestClient]:
    """A client at a remote address."""
    with client_of(in_memory(MemoryStore(), CLOSED), url="http://api.example", sender="192.0.2.1") as api_client:
        yield api_client


@pytest.mark.parametrize(("method", "path"), [*PROTECTED, ("get", "/metrics")])
def test_every_protected_endpoint_requires_credentials(client, method, path):
    answer = client.request(method, path)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", sorted(PUBLIC))
def test_health_needs_no_credentials(client, path):
    assert client.get(path).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status", "expected"),
    [
        (bearer("read"), 200, "total_events"),
        (bearer("replay"), 200, "total_events"),
        (bearer("admin"), 200, "total_events"),
        (bearer("expired"), 401, "The token has expired."),
        (bearer("revoked"), 401, "The token was revoked."),
        (bearer("nobody"), 401, "Unknown token."),
        ({"authorization": "Bearer a.b.c"}, 401, "This is not a token of Helios."),
        ({"authorization": f"Basic {PREFIX}read"}, 401, "Missing token."),
        ({}, 401, "Missing token."),
    ],
)
def test_only_a_valid_token_is_admitted(client, headers, status, expected):
    answer = client.get(STATS, headers=headers)

    assert (answer.status_code, expected in answer.text) == (status, True)
    assert "helios_" not in answer.text


def test_the_answer_names_the_missing_scope(client):
    answer = client.post("/api/v1/dead-letters/1/replay", headers=bearer("read"))

    assert answer.status_code == 403
    assert "scope replay" in answer.json()["detail"]
    assert client.post("/api/v1/dead-letters/1/replay", headers=bearer("replay")).status_code == 404


@pytest.mark.parametrize(("seconds", "status"), [(access.CACHE_SECONDS, 200), (0.0, 401)])
def test_a_revoked_token_is_refused_once_its_cache_entry_expires(monkeypatch, seconds, status):
    monkeypatch.setattr(access, "CACHE_SECONDS", seconds)
    services = in_memory(MemoryStore(), CLOSED)
    with client_of(services, url="http://api.example", sender="192.0.2.1") as client:
        assert client.get(STATS, headers=bearer("read")).status_code == 200
        services.tokens.revoke("read", datetime.now(UTC))
        assert client.get(STATS, headers=bearer("read")).status_code == status


def test_admissions_are_counted_by_result(client):
    for headers in (bearer("read"), bearer("nobody"), {}):
        client.get(STATS, headers=headers)
    metrics = client.get("/metrics", headers=bearer("read")).text

    for result, count in [("admitted", 2), ("unknown", 1), ("missing", 1)]:
        assert f'helios_admissions_total{{authenticator="token",channel="api",result="{result}"}} {count}.0' in metrics


def test_a_client_above_its_rate_limit_is_answered_429():
    settings = Settings(database_url="postgresql://nowhere", webhook_auth="closed", rate_per_minute=3)
    with client_of(in_memory(MemoryStore(), settings), url="http://api.example", sender="192.0.2.1") as client:
        assert [client.get(STATS, headers=bearer("read")).status_code for _ in range(4)] == [200, 200, 200, 429]
        answer = client.get(STATS, headers=bearer("read"))
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert client.get(STATS, headers=bearer("replay")).status_code == 200

        guesses = [client.get(STATS, headers=bearer(f"guess{number}")).status_code for number in range(4)]
        assert guesses[-1] == 429


def test_guesses_do_not_lock_out_a_known_token_at_the_same_address(monkeypatch):
    """Clients behind a NAT share an address. The token cache expires at once in this test."""
    monkeypatch.setattr(access, "CACHE_SECONDS", 0.0)
    with client_of(in_memory(MemoryStore(), SPARING), url="http://api.example", sender="192.0.2.1") as client:
        assert client.get(STATS, headers=bearer("read")).status_code == 200
        guesses = [client.get(STATS, headers=bearer(f"guess{number}")).status_code for number in range(5)]
        assert guesses == [401, 401, 401, 429, 429]

        assert client.get(STATS, headers=bearer("read")).status_code == 200


def test_repeated_lookups_of_a_valid_token_are_not_guesses(monkeypatch):
    monkeypatch.setattr(access, "CACHE_SECONDS", 0.0)
    with client_of(in_memory(MemoryStore(), SPARING), url="http://api.example", sender="192.0.2.1") as client:
        for name in ("read", "replay", "admin"):
            assert [client.get(STATS, headers=bearer(name)).status_code for _ in range(3)] == [200] * 3


def test_invalid_provider_tokens_are_rate_limited_by_address():
    settings = msgspec.structs.replace(
        SPARING, oidc_issuer="https://idp.example", oidc_audience="helios", oidc_keys_url="http://127.0.0.1:1/"
    )
    invalid = {"authorization": "Bearer a.b.c"}
    with client_of(in_memory(MemoryStore(), settings), url="http://api.example", sender="192.0.2.1") as client:
        answers = [client.get(STATS, headers=invalid) for _ in range(5)]

        assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
        assert int(answers[-1].headers["retry-after"]) >= 1
        metrics = client.get("/metrics", headers=bearer("read"))
        assert metrics.status_code == 200  # a valid token, although it is seen for the first time


def test_invalid_tickets_are_rate_limited_by_address():
    with client_of(in_memory(MemoryStore(), SPARING), url="http://api.example", sender="192.0.2.1") as client:
        reasons = []
        for number in range(5):
            with pytest.raises(WebSocketDisconnect) as denied, client.websocket_connect(f"{WATCH}?ticket={number}"):
                pass
            reasons.append(denied.value.reason)

    assert reasons[:3] == [access.TICKET_NEEDED] * 3
    assert all(reason.startswith("Rate limit exceeded.") for reason in reasons[3:])


def test_admissions_of_websockets_and_notifications_are_counted(monkeypatch):
    services = in_memory(MemoryStore(), msgspec.structs.replace(CLOSED, notify_secret=NOTIFY))
    with client_of(services, url="http://api.example", sender="192.0.2.1") as client:
        ticket = client.post(TICKETS, headers=bearer("read")).json()["ticket"]
        with client.websocket_connect(f"{WATCH}?ticket={ticket}"):
            pass
        for refused, headers in [(WATCH, {}), (f"{WATCH}?ticket=x", {}), (WATCH, {"origin": "https://evil.example"})]:
            with pytest.raises(WebSocketDisconnect), client.websocket_connect(refused, headers=headers):
                pass
        for secret in (NOTIFY, "wrong"):
            client.post("/api/v1/relay/notify", headers={"authorization": f"Bearer {secret}"})
        monkeypatch.setattr(services.tickets, "redeem", raise_retryable)
        monkeypatch.setattr(services.tokens, "use", raise_retryable)
        with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect(f"{WATCH}?ticket=x"):
            pass
        assert client.get(STATS, headers=bearer("replay")).status_code == 503
        metrics = client.get("/metrics", headers=bearer("read")).text

    assert (denied.value.status_code, denied.value.headers["retry-after"]) == (503, "5")
    for channel, authenticator, result in [
        ("api", "ticket", "admitted"),
        ("api", "ticket", "missing"),
        ("api", "ticket", "unknown"),
        ("api", "ticket", "wrong_origin"),
        ("api", "ticket", "undecided"),
        ("api", "token", "undecided"),
        ("notify", "secret", "admitted"),
        ("notify", "secret", "wrong_key"),
    ]:
        assert (
            f'helios_admissions_total{{authenticator="{authenticator}",channel="{channel}",result="{result}"}} 1.0'
            in metrics
        )


def raise_retryable(*_: object) -> None:
    raise Retryable("Postgres: connection to db.internal as helios failed")


@pytest.mark.parametrize("path", [STATS, "/api/v1/health/detailed"])
def test_the_cause_of_a_failure_is_logged_and_not_sent_to_the_client(monkeypatch, caplog, path):
    services = in_memory(MemoryStore(), CLOSED)
    monkeypatch.setattr(services.reader, "probe", raise_retryable)
    monkeypatch.setattr(services.tokens, "use", raise_retryable)
    with client_of(services, url="http://api.example", sender="192.0.2.1") as client:
        answer = client.get(path, headers=bearer("read"))

    assert answer.status_code == 503
    assert "db.internal" not in answer.text
    assert [record for record in caplog.records if "db.internal" in str(vars(record))]


def test_a_ticket_admits_one_websocket(client):
    assert client.post(TICKETS).status_code == 401
    issued = client.post(TICKETS, headers=bearer("read"))
    assert issued.status_code == 201

    url = f"{WATCH}?ticket={issued.json()['ticket']}"
    with client.websocket_connect(url) as watcher:
        assert watcher.receive_json()["type"] == "hello"
    for refused in (url, WATCH, f"{WATCH}?ticket=", f"{WATCH}?ticket=guess"):
        with pytest.raises(WebSocketDisconnect), client.websocket_connect(refused):
            pass


@contextmanager
def provider(
    *, typ: object = "at+jwt", token_type: str = "at+jwt", **claims: object
) -> Iterator[tuple[Settings, dict]]:
    """Settings that name an OpenID provider, and a header with a token that has these claims."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    now = int(datetime.now(UTC).timestamp())
    payload = {"iss": "https://idp.example", "aud": "helios", "sub": "kim", "iat": now, "exp": now + 60} | claims
    token = jwt.encode(payload, key, algorithm="RS256", headers={"kid": "1", "typ": typ})
    public_key = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": "1"}
    with listening(200, {}, json.dumps({"keys": [public_key]}).encode()) as keys_url:
        settings = Settings(
            database_url="postgresql://nowhere",
            webhook_auth="closed",
            oidc_issuer="https://idp.example",
            oidc_audience="helios",
            oidc_keys_url=keys_url,
            oidc_token_type=token_type,
        )
        yield settings, {"authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"scope": "openid helios.read"}, 200),
        ({"roles": ["helios.admin"]}, 200),
        ({"scope": "openid"}, 403),
        ({"scope": ["helios.read"]}, 401),
        ({"scope": "helios.read", "roles": "helios.read"}, 401),
        ({"scope": "helios.read", "helios.sources": ["aws"]}, 200),
        ({"scope": "helios.read", "helios.sources": "aws"}, 401),
        ({"scope": "helios.read", "helios.masked": [7]}, 401),
        ({"scope": "helios.read", "helios.source": ["aws"]}, 401),
        ({"scope": "helios.read", "aud": "another"}, 401),
        ({"scope": "helios.read", "iss": "https://another.example"}, 401),
        ({"scope": "helios.read", "exp": 1}, 401),
        ({"scope": "helios.read", "sub": ""}, 401),
    ],
)
def test_a_person_is_admitted_with_a_valid_token_of_the_provider(claims, status):
    with (
        provider(**claims) as (settings, header),
        client_of(in_memory(MemoryStore(), settings), url="http://api.example", sender="192.0.2.1") as client,
    ):
        assert client.get(STATS, headers=header).status_code == status


@pytest.mark.parametrize(
    ("typ", "token_type", "status"),
    [
        ("at+jwt", "at+jwt", 200),
        ("application/at+JWT", "at+jwt", 200),
        ("JWT", "at+jwt", 401),
        ("at+jwt+x", "at+jwt", 401),
        (None, "at+jwt", 401),
        (7, "at+jwt", 401),
        (["at+jwt"], "at+jwt", 401),
        ("JWT", "JWT", 200),
        ("at+jwt", "JWT", 401),
    ],
)
def test_an_id_token_is_no_access_token(typ, token_type, status):
    """RFC 9068, section 4: the type tells them apart, which may have the same issuer, audience and claims."""
    with (
        provider(typ=typ, token_type=token_type, scope="helios.read") as (settings, header),
        client_of(in_memory(MemoryStore(), settings), url="http://api.example", sender="192.0.2.1") as client,
    ):
        assert client.get(STATS, headers=header).status_code == status


def test_the_limits_in_the_claims_of_a_person_apply():
    """A claim that limits must never be dropped, nor let its holder change anything."""
    claims: dict[str, Any] = {
        "scope": "helios.admin",
        "helios.sources": ["aws"],
        "helios.masked": ["customer_id"],
    }
    with (
        provider(**claims) as (settings, header),
        client_of(in_memory(MemoryStore(), settings), url="http://api.example", sender="192.0.2.1") as client,
    ):
        answers = [client.get(STATS, headers=header), client.get("/api/v1/audit", headers=header)]
        answers.append(client.post("/api/v1/dead-letters/1/replay", headers=header))

    assert [answer.status_code for answer in answers] == [200, 403, 403]


def test_guesses_do_not_lock_out_a_known_person_at_the_same_address():
    with provider(scope="helios.read") as (settings, header):
        services = in_memory(MemoryStore(), msgspec.structs.replace(settings, rate_per_minute=3))
        with client_of(services, url="http://api.example", sender="192.0.2.1") as client:
            assert client.get(STATS, headers=header).status_code == 200
            guesses = [client.get(STATS, headers=bearer(f"guess{number}")).status_code for number in range(4)]
            assert guesses == [401, 401, 401, 429]

            assert client.get(STATS, headers=header).status_code == 200


def test_actor_names_of_tokens_and_persons_never_collide(monkeypatch):
    """A token's name may equal a person's address or "local", and a provider may not have verified an address."""
    names: list[str] = []

    def issue(holder: TicketHolder) -> str:
        names.append(holder.name)
        return "ticket"

    with provider(scope="helios.read", email="read", preferred_username="local", sub="read") as (settings, header):
        services = in_memory(MemoryStore(), settings)
        monkeypatch.setattr(services.tickets, "issue", issue)
        with client_of(services, url="http://api.example", sender="192.0.2.1") as client:
            for credentials in (header, bearer("read")):
                assert client.post(TICKETS, headers=credentials).status_code == 201

    assert names == ["oidc:read", "token:read"]


def test_every_answer_has_headers_that_forbid_framing_sniffing_and_caching(client):
    for path in (STATS, "/docs", "/nowhere"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]


@pytest.mark.parametrize(("url", "expected"), [("https://api.example", True), ("http://api.example", False)])
def test_strict_transport_security_is_sent_over_https_only(url, expected):
    """RFC 6797, section 7.2 forbids the header over HTTP."""
    with client_of(in_memory(MemoryStore(), CLOSED), url=url, sender="192.0.2.1") as client:
        assert ("strict-transport-security" in client.get(STATS).headers) is expected


def test_an_internal_error_is_a_problem_with_every_header_and_without_the_error_text(monkeypatch, caplog):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the password is s3cret")

    services = in_memory(MemoryStore(), CLOSED)
    monkeypatch.setattr(services.reader, "totals", fail)
    headers = bearer("read") | {"origin": CLOSED.dashboard_origin}
    with client_of(services, url="http://api.example", sender="192.0.2.1") as client:
        answer = client.get(STATS, headers=headers)

    assert (answer.status_code, answer.json()["title"]) == (500, "Internal Server Error")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["access-control-allow-origin"] == CLOSED.dashboard_origin
    assert "s3cret" not in answer.text
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [RuntimeError]
