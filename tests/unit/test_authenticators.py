"""Every authenticator admits valid credentials and refuses others. Real libraries make the credentials."""

import base64
import hmac
import json
import socketserver
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import jwt
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID
from google.auth import crypt
from google.auth import jwt as google_jwt
from standardwebhooks.webhooks import Webhook

from helios.auth.authenticator import Refused
from helios.auth.certificates import NOT_FOUND_SECONDS, PAUSE_SECONDS, Certificates
from helios.auth.hmac_signature import HmacSignature
from helios.auth.keys import FRESH_SECONDS, RETRY_SECONDS, KeySet, NotFound, fetch
from helios.auth.oidc import LEEWAY_SECONDS, BearerToken, permit_application, permit_service_account
from helios.auth.secret import HEADER, SecretHeader
from helios.auth.sns import SnsSignature
from helios.auth.webhook_auth import EVENT_GRID_APPLICATION, GOOGLE_ISSUERS, build
from helios.errors import ConfigurationError, Retryable
from helios.settings import Settings
from helios.sources.declaration import shipped_scheme
from local.canary.sns import Server
from local.emulators.eventgrid.entra import Entra
from local.emulators.eventgrid.subscription import Subscription
from local.emulators.pubsub.tokens import Signer
from local.stack.config import AWS_REGION
from tests.support.listener import listening, serving
from tests.support.waiting import eventually

AUDIENCE = "https://helios.example/api/v1/webhooks/gcp/pubsub"
ACCOUNT = "pusher@shop.iam.gserviceaccount.com"
TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
KEYS_URL = "https://keys.example/certs"


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Keys:
    """An issuer with a key and a key set, which may be unavailable."""

    def __init__(self) -> None:
        self.rotate("first")
        self.unavailable = False
        self.fetches = 0

    def rotate(self, key_id: str) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.key_id = key_id

    def fetch(self, _: str) -> bytes:
        self.fetches += 1
        if self.unavailable:
            raise Retryable("the keys are unavailable")
        key = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return json.dumps({"keys": [key | {"kid": self.key_id, "use": "sig", "alg": "RS256"}]}).encode()


@pytest.fixture(scope="module")
def keys() -> Keys:
    return Keys()


def google(keys: Keys, clock: Clock | None = None) -> BearerToken:
    return BearerToken(
        KeySet(KEYS_URL, fetch=keys.fetch, clock=clock or Clock()),
        issuers=GOOGLE_ISSUERS,
        audience=AUDIENCE,
        permit=permit_service_account(ACCOUNT),
    )


def entra(keys: Keys) -> BearerToken:
    return BearerToken(
        KeySet(KEYS_URL, fetch=keys.fetch, clock=Clock()),
        issuers=(f"https://sts.windows.net/{TENANT}/",),
        audience=AUDIENCE,
        permit=permit_application(EVENT_GRID_APPLICATION),
    )


def claims(**changed) -> dict:
    now = int(time.time())
    values = {
        "iss": GOOGLE_ISSUERS[0],
        "aud": AUDIENCE,
        "email": ACCOUNT,
        "email_verified": True,
        "iat": now,
        "exp": now + 3600,
    }
    return {name: value for name, value in (values | changed).items() if value is not None}


def entra_claims(**changed) -> dict:
    return claims(iss=f"https://sts.windows.net/{TENANT}/", email=None, appid=EVENT_GRID_APPLICATION) | changed


def bearer(keys: Keys, content: dict, *, key: Any = None, algorithm: str = "RS256", key_id: str | None = None) -> dict:
    """Headers with a token that google-auth signs, as Google does, or PyJWT where google-auth refuses to."""
    key, key_id = key or keys.key, key_id or keys.key_id
    if algorithm == "RS256":
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        token = google_jwt.encode(crypt.RSASigner.from_string(pem, key_id=key_id), content).decode()
    else:
        token = jwt.encode(content, "" if algorithm == "none" else key, algorithm=algorithm, headers={"kid": key_id})
    return {"authorization": f"Bearer {token}"}


def verdict(authenticator, headers: dict, body: bytes = b"") -> str:
    """The authenticator's result as text."""
    try:
        authenticator.check(headers, body)
    except Refused as refused:
        return f"{refused.status} {refused.code}"
    except Retryable:
        return "503"
    return "admitted"


OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
HOUR = 3600
DAY = 24 * HOUR


@pytest.mark.parametrize(
    ("authenticator", "content"), [(google, claims), (entra, entra_claims)], ids=["Google", "Entra"]
)
@pytest.mark.parametrize(
    ("changed", "signed", "expected"),
    [
        pytest.param({}, {}, "admitted", id="right"),
        pytest.param({}, {"key": OTHER_KEY}, "401 wrong_key", id="wrong key"),
        pytest.param({}, {"key_id": "unheard-of"}, "401 wrong_key", id="unknown key"),
        pytest.param({"aud": "https://other.example"}, {}, "401 wrong_audience", id="wrong audience"),
        pytest.param({"aud": None}, {}, "401 malformed", id="no audience"),
        pytest.param({"iss": "https://accounts.example"}, {}, "401 wrong_issuer", id="wrong issuer"),
        pytest.param({"exp": int(time.time()) - HOUR}, {}, "401 expired", id="expired"),
        pytest.param(
            {"exp": int(time.time()) - LEEWAY_SECONDS - 30}, {}, "401 expired", id="replayed beyond tolerance"
        ),
        pytest.param({"exp": None}, {}, "401 malformed", id="without end"),
        pytest.param({"nbf": int(time.time()) + DAY}, {}, "401 not_yet_valid", id="not yet valid"),
        pytest.param({"iat": int(time.time()) + DAY}, {}, "401 not_yet_valid", id="issued in the future"),
        pytest.param({}, {"algorithm": "none"}, "401 wrong_algorithm", id="algorithm none"),
        pytest.param({}, {"algorithm": "HS256", "key": "k" * 32}, "401 wrong_algorithm", id="a symmetric algorithm"),
        pytest.param({}, {"algorithm": "RS512"}, "401 wrong_algorithm", id="another algorithm"),
        pytest.param({"padding": "x" * 9000}, {}, "401 oversized", id="oversized"),
    ],
)
def test_a_bearer_token_is_admitted_only_if_every_claim_is_valid(
    keys, authenticator, content, changed, signed, expected
):
    values = {name: value for name, value in content(**changed).items() if value is not None}

    assert verdict(authenticator(keys), bearer(keys, values, **signed)) == expected


def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(keys):
    """A verifier that lets the token choose the algorithm would accept a signature made with public data."""
    public = keys.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    head, payload = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": "HS256", "kid": keys.key_id}, claims())
    )
    signature = base64.urlsafe_b64encode(hmac.digest(public, head + b"." + payload, "sha256")).rstrip(b"=")
    token = b".".join([head, payload, signature]).decode()

    assert verdict(google(keys), {"authorization": f"Bearer {token}"}) == "401 wrong_algorithm"


V2 = {"iss": f"https://login.microsoftonline.com/{TENANT}/v2.0", "appid": None, "azp": EVENT_GRID_APPLICATION}


@pytest.mark.parametrize("leeway", [-30, 30])
def test_a_small_clock_difference_is_tolerated(keys, leeway):
    now = int(time.time()) + leeway

    assert verdict(google(keys), bearer(keys, claims(iat=now, nbf=now, exp=now + 1))) == "admitted"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, "admitted"),
        (V2, "admitted"),
        ({"iss": f"https://sts.windows.net/{TENANT[:-1]}8/"}, "401 wrong_issuer"),
    ],
)
def test_the_settings_pin_entras_tenant_in_either_token_version(keys, changed, expected):
    """The test passes through WebhookAuth and fetches the keys from the URL in the settings."""
    values = {name: value for name, value in entra_claims(**changed).items() if value is not None}
    with listening(200, {}, keys.fetch("")) as url:
        webhook_auth = build(
            settings(
                webhook_auth="eventgrid=entra",
                entra_tenant=TENANT,
                entra_audience=AUDIENCE,
                entra_keys_url=url + "{tenant}",
            )
        )
        headers = bearer(keys, values)
        name, authenticator = webhook_auth.authenticator("eventgrid", headers, local=False)

        assert (name, verdict(authenticator, headers)) == ("entra", expected)


def test_tokens_of_the_event_grid_emulator_are_admitted(keys):
    emulated = Entra()
    webhook = {
        "endpointUrl": "http://helios.example",
        "azureActiveDirectoryTenantId": TENANT,
        "azureActiveDirectoryApplicationIdOrUri": AUDIENCE,
    }
    subscription = msgspec.convert({"destination": {"endpointType": "WebHook", "properties": webhook}}, Subscription)
    keys = SimpleNamespace(fetch=lambda _: json.dumps(emulated.keys).encode())
    headers = {name.lower(): value for name, value in emulated.headers(subscription).items()}

    assert verdict(entra(keys), headers) == "admitted"


def test_tokens_of_the_pubsub_emulator_are_admitted():
    """The emulator makes tokens with google-auth, and publishes its keys in Google's format."""
    signer = Signer()
    authenticator = BearerToken(
        KeySet(KEYS_URL, fetch=lambda _: json.dumps(signer.keys).encode()),
        issuers=GOOGLE_ISSUERS,
        audience=AUDIENCE,
        permit=permit_service_account(ACCOUNT),
    )

    assert (
        verdict(authenticator, {"authorization": f"Bearer {signer.token(audience=AUDIENCE, email=ACCOUNT)}"})
        == "admitted"
    )


@pytest.mark.parametrize("changed", [{"email": "other@shop.iam.gserviceaccount.com"}, {"email_verified": False}])
def test_a_valid_token_of_another_account_is_refused(keys, changed):
    assert verdict(google(keys), bearer(keys, claims(**changed))) == "403 wrong_account"


def test_a_valid_token_of_another_application_is_refused(keys):
    assert verdict(entra(keys), bearer(keys, entra_claims(appid="someone"))) == "403 wrong_account"


@pytest.mark.parametrize("token", ["", "a.b.c", "\u00e9", "." * 100])
def test_a_malformed_token_is_refused(keys, token):
    assert verdict(google(keys), {"authorization": f"Bearer {token}"}) == "401 malformed"


def test_a_known_key_is_used_while_its_issuer_is_unavailable():
    keys, clock = Keys(), Clock()
    authenticator, headers = google(keys, clock), bearer(keys, claims())
    assert verdict(authenticator, headers) == "admitted"
    keys.unavailable = True
    clock.now += FRESH_SECONDS + 1

    assert verdict(authenticator, headers) == "admitted"


class BlockingIssuer(Keys):
    """An issuer that answers when the test allows it."""

    def __init__(self) -> None:
        super().__init__()
        self.requested = threading.Event()
        self.answer = threading.Event()
        self.answer.set()

    def fetch(self, url: str) -> bytes:
        self.requested.set()
        assert self.answer.wait(60)
        return super().fetch(url)

    def hang(self) -> None:
        self.requested.clear()
        self.answer.clear()


@pytest.fixture
def blocking_issuer():
    """A blocking issuer, released at the end of the test."""
    issuer = BlockingIssuer()
    yield issuer
    issuer.answer.set()


def test_a_stale_key_is_used_while_another_caller_waits_for_an_issuer_that_hangs(blocking_issuer):
    clock = Clock()
    authenticator, headers = google(blocking_issuer, clock), bearer(blocking_issuer, claims())
    assert verdict(authenticator, headers) == "admitted"
    clock.now += FRESH_SECONDS + 1
    blocking_issuer.hang()
    with ThreadPoolExecutor(1) as thread:
        renewing = thread.submit(verdict, authenticator, headers)
        assert blocking_issuer.requested.wait(60)

        assert [verdict(authenticator, headers) for _ in range(3)] == ["admitted"] * 3
        assert verdict(authenticator, bearer(blocking_issuer, claims(), key_id="made-up")) == "503"
        assert not renewing.done()
        blocking_issuer.answer.set()
        assert renewing.result(60) == "admitted"
    assert blocking_issuer.fetches == 2


def test_only_the_caller_that_fetches_the_first_keys_waits_for_them(blocking_issuer):
    """Otherwise a client with made-up tokens could block every thread while an issuer hangs."""
    authenticator, headers = google(blocking_issuer), bearer(blocking_issuer, claims())
    blocking_issuer.hang()
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(verdict, authenticator, headers)
        assert blocking_issuer.requested.wait(60)

        assert verdict(authenticator, headers) == "503"
        assert not first.done()
        blocking_issuer.answer.set()
        assert first.result(60) == "admitted"


def test_a_token_is_undecided_without_a_key_while_the_issuer_is_unavailable():
    """A 401 would make Event Grid drop the event."""
    keys = Keys()
    keys.unavailable = True

    assert verdict(google(keys), bearer(keys, claims())) == "503"


def test_a_token_of_a_new_key_is_undecided_while_the_issuer_is_unavailable():
    keys, clock = Keys(), Clock()
    authenticator = google(keys, clock)
    verdict(authenticator, bearer(keys, claims()))
    keys.rotate("second")
    keys.unavailable = True
    clock.now += RETRY_SECONDS

    assert verdict(authenticator, bearer(keys, claims())) == "503"


def test_a_rotated_key_is_fetched_and_made_up_key_ids_do_not_cause_a_fetch_each():
    keys, clock = Keys(), Clock()
    authenticator = google(keys, clock)
    verdict(authenticator, bearer(keys, claims()))
    keys.rotate("second")
    clock.now += RETRY_SECONDS
    assert verdict(authenticator, bearer(keys, claims())) == "admitted"
    fetches = keys.fetches

    results = {verdict(authenticator, bearer(keys, claims(), key_id=f"made-up-{number}")) for number in range(5)}

    assert (results, keys.fetches) == ({"401 wrong_key"}, fetches)


@pytest.mark.parametrize("content", [b"", b"<html>", b"{}", b"[]", b'{"keys": []}'])
def test_a_token_is_undecided_if_the_key_set_is_malformed(keys, content):
    authenticator = BearerToken(
        KeySet(KEYS_URL, fetch=lambda _: content), issuers=["i"], audience="a", permit=permit_service_account("e")
    )

    assert verdict(authenticator, bearer(keys, claims())) == "503"


@pytest.mark.parametrize("status", [302, 404, 500])
def test_a_redirect_of_the_keys_url_is_not_followed(status):
    with listening(status, {"Location": "http://127.0.0.1:1/secret"}) as url, pytest.raises(Retryable):
        fetch(url)


def test_keys_are_fetched():
    with listening(200, {}, b"{}") as url:
        assert fetch(url) == b"{}"


class SlowHandler(socketserver.BaseRequestHandler):
    """Sends one byte at a time, each before the socket's timeout, and never ends the answer."""

    ended = threading.Event()

    def handle(self) -> None:
        self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not self.ended.wait(0.02):
            self.request.sendall(b" ")


def test_a_slow_answer_times_out_and_is_not_requested_twice(monkeypatch):
    monkeypatch.setattr("helios.auth.keys.TIMEOUT_SECONDS", 2)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), SlowHandler) as server, serving(server):
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        try:
            with pytest.raises(Retryable, match="no response from"):
                fetch(url)
            with pytest.raises(Retryable, match="has not ended yet"):
                fetch(url)
        finally:
            SlowHandler.ended.set()
        eventually(lambda: "keys" not in {thread.name for thread in threading.enumerate()})


@pytest.mark.parametrize(("status", "kind"), [(403, NotFound), (404, NotFound), (410, NotFound), (429, Retryable)])
def test_a_missing_resource_is_distinguished_from_an_unavailable_one(status, kind):
    with listening(status, {}) as url, pytest.raises(Retryable) as raised:
        fetch(url)

    assert raised.type is kind


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        ("new", "admitted"),
        ("old", "admitted"),
        ("other", "401 wrong_key"),
        ("", "401 wrong_key"),
        ("\u00e9", "401 wrong_key"),
        ("new old", "401 wrong_key"),
    ],
)
def test_a_secret_header_accepts_two_secrets_during_a_rotation(secret, expected):
    assert verdict(SecretHeader(["new", "old"]), {HEADER: secret}) == expected


WEBHOOK_SECRETS = [f"whsec_{base64.b64encode(bytes([number]) * 32).decode()}" for number in range(3)]


def standard_webhooks(secrets: list[str]) -> HmacSignature:
    scheme = shipped_scheme("standard_webhooks")
    return HmacSignature(scheme, secrets, variable="HELIOS_CLOUDEVENTS_SECRET")


def signed(body: str = "{}", *, secret: str = WEBHOOK_SECRETS[0], age: timedelta = timedelta()) -> dict:
    """Headers of a signed message, made during the test because a signature is valid for a few minutes only."""
    at = datetime.now(UTC) - age
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg_1", at, body),
    }


@pytest.mark.parametrize(
    ("signature", "changed", "expected"),
    [
        pytest.param({}, {}, "admitted", id="right"),
        pytest.param({"secret": WEBHOOK_SECRETS[1]}, {}, "admitted", id="the other secret"),
        pytest.param({"secret": WEBHOOK_SECRETS[2]}, {}, "401 wrong_key", id="wrong key"),
        pytest.param({"body": '{"amount": 1}'}, {}, "401 wrong_key", id="another body"),
        pytest.param({"age": timedelta(minutes=6)}, {}, "401 replayed", id="replayed beyond tolerance"),
        pytest.param({"age": -timedelta(minutes=6)}, {}, "401 replayed", id="not yet valid"),
        pytest.param({}, {"webhook-id": lambda _: "msg_2"}, "401 wrong_key", id="another id"),
        pytest.param({}, {"webhook-timestamp": lambda _: "now"}, "401 malformed", id="no time"),
        pytest.param({}, {"webhook-timestamp": lambda _: "9" * 400}, "401 malformed", id="no time either"),
        pytest.param(
            {}, {"webhook-signature": lambda signature: f"v1,AAAA {signature}"}, "admitted", id="several signatures"
        ),
        pytest.param(
            {},
            {"webhook-signature": lambda signature: signature.replace("v1,", "v1a,")},
            "401 wrong_key",
            id="another algorithm",
        ),
        pytest.param({}, {"webhook-signature": lambda _: "none,"}, "401 wrong_key", id="algorithm none"),
        pytest.param({}, {"webhook-signature": lambda _: ""}, "401 wrong_key", id="no signature"),
    ],
)
def test_a_standard_webhook_is_admitted_only_with_a_valid_and_recent_signature(signature, changed, expected):
    headers = signed(**signature)
    headers |= {name: change(headers[name]) for name, change in changed.items()}

    assert verdict(standard_webhooks(WEBHOOK_SECRETS[:2]), headers, b"{}") == expected


def test_a_standard_webhook_without_headers_is_malformed():
    assert verdict(standard_webhooks(WEBHOOK_SECRETS[:2]), {}, b"{}") == "401 malformed"


@pytest.mark.parametrize("secret", ["short", "whsec_c2hvcnQ=", "whsec_***", WEBHOOK_SECRETS[0].removeprefix("whsec_")])
def test_an_invalid_webhook_secret_is_a_configuration_error(secret):
    with pytest.raises(ConfigurationError, match="HELIOS_CLOUDEVENTS_SECRET"):
        standard_webhooks([secret])


TOPIC = f"arn:aws:sns:{AWS_REGION}:123456789012:orders"
CERTIFICATE = f"https://sns.{AWS_REGION}.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem"


def certificate(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    """A certificate as PEM, valid from yesterday until tomorrow."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - timedelta(days=1))
    signed_certificate = builder.not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    return signed_certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def amazon():
    """Amazon's key and certificate."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return SimpleNamespace(key=key, pem=certificate(key))


def message(amazon, *, key=None, hashed=None, signature=None, **changed) -> bytes:
    """A message as SNS signs it: Amazon SNS Developer Guide, "Verifying the signatures of Amazon SNS messages"."""
    values = {
        "Type": "Notification",
        "MessageId": "m-1",
        "TopicArn": TOPIC,
        "Message": "{}",
        "Timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "SignatureVersion": "2",
        "SigningCertURL": CERTIFICATE,
    } | changed
    names = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    text = "".join(f"{name}\n{values[name]}\n" for name in names if name in values)
    signed_text = (key or amazon.key).sign(text.encode(), padding.PKCS1v15(), hashed or hashes.SHA256())
    signature = base64.b64encode(signed_text).decode() if signature is None else signature
    return json.dumps(values | {"Signature": signature}).encode()


CONFIRMATION = {"Type": "SubscriptionConfirmation", "Token": "t", "SubscribeURL": "http://169.254.169.254/"}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        pytest.param({}, "admitted", id="right"),
        pytest.param({"Subject": "an order"}, "admitted", id="right, with a subject"),
        pytest.param(CONFIRMATION, "admitted", id="a confirmation"),
        pytest.param({"key": OTHER_KEY}, "401 wrong_key", id="wrong key"),
        pytest.param({"hashed": hashes.SHA1()}, "401 wrong_key", id="another hash"),
        pytest.param({"SignatureVersion": "1"}, "401 wrong_algorithm", id="another version"),
        pytest.param({"TopicArn": TOPIC + "2"}, "403 wrong_account", id="wrong audience: another topic"),
        pytest.param({"Timestamp": "2020-01-01T00:00:00.000Z"}, "401 replayed", id="replayed beyond tolerance"),
        pytest.param({"Timestamp": "2120-01-01T00:00:00.000Z"}, "401 replayed", id="not yet valid"),
        pytest.param({"Timestamp": "yesterday"}, "401 malformed", id="no time"),
        pytest.param(
            {"SigningCertURL": CERTIFICATE.replace("https", "http")}, "401 wrong_issuer", id="wrong issuer: not HTTPS"
        ),
        pytest.param(
            {"SigningCertURL": CERTIFICATE.replace("amazonaws.com", "amazonaws.com.example")},
            "401 wrong_issuer",
            id="wrong issuer: another domain",
        ),
        pytest.param(
            {"SigningCertURL": CERTIFICATE.replace("https://", "https://example@")},
            "401 wrong_issuer",
            id="wrong issuer: a user in it",
        ),
        pytest.param(
            {"SigningCertURL": CERTIFICATE.replace("sns.", "bucket.s3.")},
            "401 wrong_issuer",
            id="wrong issuer: another service",
        ),
        pytest.param({"SigningCertURL": CERTIFICATE + "?x"}, "401 wrong_issuer", id="wrong issuer: a query"),
        pytest.param(
            {"SigningCertURL": CERTIFICATE.replace(AWS_REGION, "ap-east-9")},
            "401 wrong_issuer",
            id="wrong issuer: another region",
        ),
        pytest.param(
            {"SigningCertURL": "http://169.254.169.254/latest/meta-data"},
            "401 wrong_issuer",
            id="wrong issuer: metadata",
        ),
        pytest.param({"signature": ""}, "401 wrong_key", id="no signature"),
        pytest.param({"signature": "%"}, "401 wrong_key", id="no base64"),
        pytest.param({"SignatureVersion": "none"}, "401 wrong_algorithm", id="algorithm none"),
    ],
)
def test_an_sns_message_is_admitted_only_with_amazons_signature_and_an_allowed_topic(amazon, changed, expected):
    urls: list[str] = []

    def fetch(url: str) -> bytes:
        urls.append(url)
        return amazon.pem

    assert verdict(SnsSignature([TOPIC], fetch=fetch), {}, message(amazon, **changed)) == expected
    assert set(urls) <= {CERTIFICATE}


def test_a_changed_sns_message_is_refused(amazon):
    body = message(amazon).replace(b'"Message": "{}"', b'"Message": "[]"')

    assert verdict(SnsSignature([TOPIC], fetch=lambda _: amazon.pem), {}, body) == "401 wrong_key"


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"\xff", b'{"Type": 1}', b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"]
)
def test_a_malformed_sns_message_is_refused(amazon, body):
    assert verdict(SnsSignature([TOPIC], fetch=lambda _: amazon.pem), {}, body) == "401 malformed"


@pytest.mark.parametrize("days", [-2, 2])
def test_a_message_outside_the_validity_of_its_certificate_is_refused(amazon, days):
    timestamp = time.time() + days * 86_400
    at = datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")

    authenticator = SnsSignature([TOPIC], fetch=lambda _: amazon.pem, now=lambda: timestamp)
    assert verdict(authenticator, {}, message(amazon, Timestamp=at)) == "401 expired"


def test_a_certificate_with_another_type_of_key_is_refused(amazon):
    key = ec.generate_private_key(ec.SECP256R1())

    authenticator = SnsSignature([TOPIC], fetch=lambda _: certificate(key))
    assert verdict(authenticator, {}, message(amazon)) == "401 wrong_algorithm"


@pytest.mark.parametrize("content", [None, b"", b"<html>"])
def test_an_sns_message_is_undecided_without_its_certificate(amazon, content):
    def fetch(_: str) -> bytes:
        if content is None:
            raise Retryable("unavailable")
        return content

    assert verdict(SnsSignature([TOPIC], fetch=fetch), {}, message(amazon)) == "503"


def test_a_certificate_is_fetched_once(amazon):
    urls: list[str] = []

    def fetch(url: str) -> bytes:
        urls.append(url)
        return amazon.pem

    authenticator = SnsSignature([TOPIC], fetch=fetch)
    results = {verdict(authenticator, {}, message(amazon)) for _ in range(3)}

    assert (results, urls) == ({"admitted"}, [CERTIFICATE])


class CertificateServer:
    """A fake certificate server that records the requested URLs."""

    def __init__(self, content: bytes | Retryable) -> None:
        self.content = content
        self.urls: list[str] = []

    def __call__(self, url: str) -> bytes:
        self.urls.append(url)
        if isinstance(self.content, Retryable):
            raise self.content
        return self.content


def certificate_url(name: str) -> str:
    return CERTIFICATE.replace("0123456789abcdef", name)


def test_a_missing_certificate_is_a_wrong_key_and_is_not_fetched_again():
    """A client can name any certificate. A missing one must not cause a fetch for every message."""
    clock, server = Clock(), CertificateServer(NotFound("404"))
    certificates = Certificates(mirror=None, fetch=server, clock=clock)
    for _ in range(3):
        with pytest.raises(Refused, match="No certificate exists at SigningCertURL"):
            certificates.get(CERTIFICATE)
        clock.now += PAUSE_SECONDS
    clock.now += NOT_FOUND_SECONDS
    with pytest.raises(Refused):
        certificates.get(CERTIFICATE)

    assert len(server.urls) == 2


def test_an_unavailable_certificate_is_fetched_again_later(amazon):
    clock, server = Clock(), CertificateServer(Retryable("unavailable"))
    certificates = Certificates(mirror=None, fetch=server, clock=clock)
    for _ in range(3):
        with pytest.raises(Retryable):
            certificates.get(CERTIFICATE)
    assert len(server.urls) == 1
    server.content = amazon.pem
    clock.now += 10

    assert certificates.get(CERTIFICATE) == x509.load_pem_x509_certificate(amazon.pem)


def test_fetches_of_made_up_certificates_are_limited_to_one_per_pause(amazon):
    clock, server = Clock(), CertificateServer(NotFound("404"))
    authenticator = SnsSignature([TOPIC], fetch=server, clock=clock)
    bodies = [message(amazon, SigningCertURL=certificate_url(f"{number:x}")) for number in range(20)]

    assert [verdict(authenticator, {}, body) for body in bodies] == ["401 wrong_key"] + ["503"] * 19
    assert len(server.urls) == 1
    server.content = amazon.pem
    clock.now += PAUSE_SECONDS
    assert verdict(authenticator, {}, message(amazon)) == "admitted"
    assert verdict(authenticator, {}, bodies[-1]) == "503"
    assert verdict(authenticator, {}, message(amazon)) == "admitted"


def test_a_caller_does_not_wait_for_a_certificate_that_another_caller_fetches(amazon):
    requested, answer = threading.Event(), threading.Event()

    def fetch(_: str) -> bytes:
        requested.set()
        assert answer.wait(60)
        return amazon.pem

    authenticator = SnsSignature([TOPIC], fetch=fetch)
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(verdict, authenticator, {}, message(amazon))
        try:
            assert requested.wait(60)
            assert verdict(authenticator, {}, message(amazon)) == "503"
        finally:
            answer.set()
        assert first.result(60) == "admitted"


@pytest.fixture
def sns_server():
    """The demo's stand-in for SNS."""
    with Server(0, endpoint_url="http://127.0.0.1:1", confirm=lambda _topic, _token: None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("changed", "said"),
    [({}, "admitted"), ({"Message": "[]"}, "401 wrong_key"), ({"SigningCertURL": "{mirror}"}, "401 wrong_issuer")],
)
def test_a_mirror_gives_certificates_and_the_message_has_to_name_amazon_all_the_same(amazon, sns_server, changed, said):
    mirror = f"http://127.0.0.1:{sns_server.server_port}"
    signed_there = sns_server.signer.sign(json.loads(message(amazon, Subject="a beat")))
    body = json.dumps(signed_there | {name: value.format(mirror=mirror) for name, value in changed.items()}).encode()

    assert verdict(SnsSignature([TOPIC], mirror=mirror), {}, body) == said


def settings(**values) -> Settings:
    return Settings(database_url="postgresql://nowhere", **values)


@pytest.mark.parametrize(
    ("values", "environ", "reason"),
    [
        ({}, {}, "HELIOS_WEBHOOK_AUTH is not set"),
        ({"trust_loopback": "loopback"}, {"AWS_LAMBDA_FUNCTION_NAME": "helios-api"}, "HELIOS_TRUST_LOOPBACK"),
        ({"trust_loopback": "loopback"}, {"K_SERVICE": "helios-api"}, "HELIOS_TRUST_LOOPBACK"),
        ({"trust_loopback": "loopback"}, {"FUNCTIONS_WORKER_RUNTIME": "python"}, "HELIOS_TRUST_LOOPBACK"),
        ({"webhook_auth": "eventbridge=none"}, {}, "unknown entry 'eventbridge=none'"),
        ({"webhook_auth": "eventbridge"}, {}, "unknown entry 'eventbridge'"),
        ({"webhook_auth": "smtp=key"}, {}, "unknown entry 'smtp=key'"),
        ({"webhook_auth": "eventbridge=key"}, {}, "HELIOS_EVENTBRIDGE_SECRET is not set"),
        ({"webhook_auth": "eventbridge=sns"}, {}, "HELIOS_SNS_TOPICS is not set"),
        ({"webhook_auth": "pubsub=oidc"}, {}, "HELIOS_PUBSUB_AUDIENCE is not set"),
        ({"webhook_auth": "pubsub=oidc", "pubsub_audience": "a"}, {}, "HELIOS_PUBSUB_SERVICE_ACCOUNT is not set"),
        ({"webhook_auth": "eventgrid=secret"}, {}, "HELIOS_EVENTGRID_SECRET is not set"),
        ({"webhook_auth": "eventgrid=entra"}, {}, "HELIOS_ENTRA_TENANT is not set"),
        ({"webhook_auth": "cloudevents=hmac"}, {}, "HELIOS_CLOUDEVENTS_SECRET is not set"),
    ],
)
def test_helios_does_not_start_without_authentication_of_every_webhook(values, environ, reason):
    with pytest.raises(ConfigurationError, match=reason):
        build(settings(**values), environ)
