"""The check in front of the Cloud Function: which callers it lets through, and how it answers the others."""

import json
import time
from collections.abc import Iterator

import jwt
import pytest
from werkzeug.test import Client

from helios.processes.ports import HOST, free_port
from local.emulators.cloud_run import ISSUERS, InvokerAuth
from local.emulators.issuer import Issuer
from tests.support.listener import listening

AUDIENCE = "http://127.0.0.1:8088"
INVOKER = "helios@shop.iam.gserviceaccount.com"
CLAIMS: dict[str, str | bool] = {"iss": ISSUERS[0], "aud": AUDIENCE, "email": INVOKER, "email_verified": True}


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(scope="module")
def keys_url(issuer) -> Iterator[str]:
    with listening(200, {"content-type": "application/json"}, json.dumps(issuer.keys).encode()) as url:
        yield url


def application(_environ, start_response):
    start_response("200 OK", [])
    return [b"application"]


def status(keys_url: str, authorization: str | None) -> int:
    protected = InvokerAuth(application, keys_url=keys_url, audience=AUDIENCE, invoker=INVOKER)
    headers = {"Authorization": authorization} if authorization else {}
    return Client(protected).post("/", headers=headers).status_code


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({}, 200),
        ({"iss": ISSUERS[1]}, 200),
        ({"iss": "https://example.com"}, 401),
        ({"aud": "http://127.0.0.1:1"}, 401),
        ({"email": "other@shop.iam.gserviceaccount.com"}, 403),
        ({"email_verified": False}, 403),
    ],
    ids=["invoker", "Google's other name", "other issuer", "other audience", "other account", "unverified"],
)
def test_only_the_invoker_s_token_for_this_service_is_accepted(issuer, keys_url, claims, expected):
    assert status(keys_url, f"Bearer {issuer.token(CLAIMS | claims)}") == expected


@pytest.mark.parametrize("authorization", [None, "", "Basic aGVsaW9z", "Bearer", "Bearer "])
def test_a_request_without_a_token_is_forbidden(keys_url, authorization):
    assert status(keys_url, authorization) == 403


def test_a_malformed_token_is_unauthorized(keys_url):
    assert status(keys_url, "Bearer nonsense") == 401


def test_a_token_of_another_key_is_unauthorized(keys_url):
    """This includes a token that claims the key's id."""
    assert status(keys_url, f"Bearer {Issuer().token(CLAIMS)}") == 401


def test_an_old_token_is_unauthorized(issuer, keys_url):
    times = {"iat": int(time.time()) - 7200, "exp": int(time.time()) - 3600}
    token = jwt.encode(CLAIMS | times, issuer.key, algorithm="RS256", headers={"kid": issuer.key_id})
    assert status(keys_url, f"Bearer {token}") == 401


def test_a_token_without_a_signature_is_unauthorized(issuer, keys_url):
    token = jwt.encode(CLAIMS | {"exp": int(time.time()) + 60}, "", algorithm="none", headers={"kid": issuer.key_id})
    assert status(keys_url, f"Bearer {token}") == 401


def test_while_the_keys_are_not_available_the_answer_makes_pub_sub_retry(issuer):
    assert status(f"http://{HOST}:{free_port()}/", f"Bearer {issuer.token(CLAIMS)}") == 503
