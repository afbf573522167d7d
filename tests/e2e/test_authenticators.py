"""Each guard of the API is at work in the running demo: it lets in what the emulators sign, and nothing else."""

import base64
import json
import time
import urllib.request
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from prometheus_client.parser import text_string_to_metric_families
from standardwebhooks.webhooks import Webhook

from local.stack.config import CANARY_TOPIC_ARN, WEBHOOK_AUTH
from tests.support.client import EVENTBRIDGE, EVENTGRID, JSON, call

PUBSUB = "/api/v1/webhooks/gcp/pubsub"
CLOUDEVENTS = "/api/v1/webhooks/cloudevents"

CANARY_EVENTS = "SELECT source, id, data ->> 'past' FROM events WHERE type = 'Canary'"

HANDSHAKE = 1
"""Event Grid asks the API for its consent when the subscription is made, with the same proof."""


def admissions(stack) -> Counter[tuple[str, str, str]]:
    """How many deliveries there were by way in, guard and what it said."""
    with urllib.request.urlopen(f"{stack.config.api_url}/metrics", timeout=20) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    every = [sample for family in families for sample in family.samples if sample.name == "helios_admissions_total"]
    # The others are questions, such as this one, and rings.
    sent = [one for one in every if one.labels["channel"] not in {"api", "notify"}]
    return Counter(
        {(one.labels["channel"], one.labels["authenticator"], one.labels["result"]): int(one.value) for one in sent}
    )


def test_every_guard_lets_a_canary_event_in(stack):
    """One event each, at once and not after a refusal; ready means that all of them are stored."""
    before, rows = admissions(stack), stack.rows(CANARY_EVENTS)
    stack.service("canary").stop()
    stack.service("canary").start()

    assert admissions(stack) - before == {
        ("eventbridge", "key", "admitted"): 1,
        ("eventbridge", "sns", "admitted"): 1,
        ("pubsub", "oidc", "admitted"): 1,
        ("eventgrid", "secret", "admitted"): 1 + HANDSHAKE,
        ("eventgrid", "entra", "admitted"): 1 + HANDSHAKE,
        ("cloudevents", "hmac", "admitted"): 1,
    }
    new = Counter(stack.rows(CANARY_EVENTS)) - Counter(rows)
    assert Counter(source for source, *_ in new) == {"aws": 2, "gcp": 2, "azure": 2}
    assert {past for _, _, past in new} == {"key", "sns", "oidc", "secret", "entra", "hmac"}


def forged(**claims: Any) -> dict[str, str]:
    """A token that says the right things, signed with a key that nobody knows."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    times = {"iat": int(time.time()), "exp": int(time.time()) + 600}
    return {"authorization": "Bearer " + jwt.encode(claims | times, key, algorithm="RS256", headers={"kid": "forged"})}


def google() -> dict[str, str]:
    account = WEBHOOK_AUTH["HELIOS_PUBSUB_SERVICE_ACCOUNT"]
    audience = WEBHOOK_AUTH["HELIOS_PUBSUB_AUDIENCE"]
    return forged(iss="https://accounts.google.com", aud=audience, email=account, email_verified=True)


def entra() -> dict[str, str]:
    issuer = f"https://sts.windows.net/{WEBHOOK_AUTH['HELIOS_ENTRA_TENANT']}/"
    audience = WEBHOOK_AUTH["HELIOS_ENTRA_AUDIENCE"]
    return forged(iss=issuer, aud=audience, appid="4962773b-9cdb-44cf-a8bf-237846a00ab7")


def webhook() -> dict[str, str]:
    now = datetime.now(UTC)
    other = Webhook("whsec_" + base64.b64encode(b"x" * 32).decode())
    return {
        "webhook-id": "m",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": other.sign("m", now, "{}"),
    }


def notification() -> bytes:
    """As SNS has it, but for the signature: its certificate does not exist."""
    return json.dumps(
        {
            "Type": "Notification",
            "MessageId": "m",
            "TopicArn": CANARY_TOPIC_ARN,
            "Message": "{}",
            "Timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "SignatureVersion": "2",
            "Signature": "e30=",
            "SigningCertURL": "https://sns.us-east-1.evil.example/SimpleNotificationService-0.pem",
        }
    ).encode()


@pytest.mark.parametrize(
    ("path", "authenticator", "proof", "body", "said"),
    [
        (EVENTBRIDGE, "key", lambda: {"x-helios-key": "wrong"}, b"{}", "wrong_key"),
        (EVENTBRIDGE, "sns", lambda: {"x-amz-sns-message-type": "Notification"}, notification(), "wrong_issuer"),
        (PUBSUB, "oidc", google, b"{}", "wrong_key"),
        (EVENTGRID, "secret", lambda: {"x-helios-key": "wrong"}, b"[]", "wrong_key"),
        (EVENTGRID, "entra", entra, b"[]", "wrong_key"),
        (CLOUDEVENTS, "hmac", webhook, b"{}", "wrong_key"),
    ],
)
def test_a_wrong_proof_is_refused_where_none_would_be_let_in(stack, path, authenticator, proof, body, said):
    """Each proof is made now: one that is some minutes old would be refused for that."""
    channel = path.rpartition("/")[2]
    before = admissions(stack)
    rows = stack.rows("SELECT count(*) FROM dead_letters")

    answer = call(stack.config.api_url, path, body, {**JSON, **proof()})

    assert (answer.status, answer.body["title"]) == (401, "Unauthorized")
    assert admissions(stack) - before == {(channel, authenticator, said): 1}
    assert stack.rows("SELECT count(*) FROM dead_letters") == rows
