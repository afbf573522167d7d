"""Signed credentials of an unexpected form are refused with 401. They never cause an internal error."""

import base64
import json
import time
from datetime import UTC, datetime

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from standardwebhooks.webhooks import Webhook

from helios.auth.authenticator import Refused
from helios.auth.hmac_signature import HmacSignature
from helios.auth.keys import KeySet
from helios.auth.oidc import BearerToken, permit_application, permit_service_account
from helios.sources.declaration import shipped_scheme

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SECRET = f"whsec_{base64.b64encode(b'k' * 32).decode()}"
PERMITS = {"Google": permit_service_account("pusher@shop.example"), "Entra": permit_application("event-grid")}
CLAIMS = {"iss": "issuer", "aud": "helios", "email": "pusher@shop.example", "email_verified": True, "azp": "event-grid"}


def key_set(_: str) -> bytes:
    key = jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True)
    return json.dumps({"keys": [key | {"kid": "1", "use": "sig", "alg": "RS256"}]}).encode()


def status_of(authenticator, headers: dict[str, str], body: bytes = b"") -> int:
    """The status of the refusal; 200 if the credentials are accepted."""
    try:
        authenticator.check(headers, body)
    except Refused as refused:
        return refused.status
    return 200


def status_of_token(permit: str, **claims: object) -> int:
    now = int(time.time())
    # PyJWT refuses to encode some wrong types, so the payload is signed as bytes.
    payload = json.dumps(CLAIMS | {"iat": now, "exp": now + 60} | claims).encode()
    token = jwt.PyJWS().encode(payload, KEY, algorithm="RS256", headers={"kid": "1", "typ": "JWT"})
    authenticator = BearerToken(
        KeySet("https://keys.example", fetch=key_set), issuers=["issuer"], audience="helios", permit=PERMITS[permit]
    )
    return status_of(authenticator, {"authorization": f"Bearer {token}"})


@pytest.mark.parametrize("permit", PERMITS)
def test_a_token_with_claims_of_the_right_types_is_accepted(permit):
    assert status_of_token(permit) == 200


@pytest.mark.parametrize(
    ("permit", "claim"),
    [("Google", name) for name in ("email", "email_verified")] + [("Entra", name) for name in ("azp", "appid")],
)
@pytest.mark.parametrize("value", [["event-grid"], {"a": 1}, 7, 1.5], ids=str)
def test_a_claim_of_a_wrong_type_is_401(permit, claim, value):
    """A list, for example, can't be looked up in a set."""
    assert status_of_token(permit, **{claim: value}) == 401


@pytest.mark.parametrize("permit", PERMITS)
@pytest.mark.parametrize("claim", ["iss", "aud", "exp", "iat", "nbf", "sub", "jti"])
@pytest.mark.parametrize("value", [[[]], {"a": 1}, [1], "text"], ids=str)
def test_a_registered_claim_of_a_wrong_type_is_never_an_internal_error(permit, claim, value):
    assert status_of_token(permit, **{claim: value}) in ({401, 200} if claim in {"sub", "jti"} else {401})


def test_a_webhook_id_with_a_dot_is_401():
    """Dots separate id, time and body in the signed text, so a dot in the id could stand for another boundary."""
    now = datetime.now(UTC)
    timestamp = str(int(now.timestamp()))
    signature = Webhook(SECRET).sign("a", now, f"{timestamp}.{{}}")
    shifted = {"webhook-id": f"a.{timestamp}", "webhook-timestamp": timestamp, "webhook-signature": signature}
    genuine = shifted | {"webhook-id": "a"}

    authenticator = HmacSignature(shipped_scheme("standard_webhooks"), [SECRET], variable="HELIOS_CLOUDEVENTS_SECRET")
    assert status_of(authenticator, genuine, f"{timestamp}.{{}}".encode()) == 200
    assert status_of(authenticator, shifted, b"{}") == 401
