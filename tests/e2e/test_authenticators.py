"""Each authenticator of the running API accepts what the emulators sign, and refuses everything else."""

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
"""Event Grid sends the validation request of a new subscription with the same credentials."""


def admissions(stack) -> Counter[tuple[str, str, str]]:
    """The number of deliveries by channel, authenticator and result."""
    with urllib.request.urlopen(f"{stack.config.api_url}/metrics", timeout=20) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    samples = [sample for family in families for sample in family.samples if sample.name == "helios_admissions_total"]
    # The other requests are queries, such as this one, and notifications.
    deliveries = [sample for sample in samples if sample.labels["channel"] not in {"api", "notify"}]
    return Counter(
        {
            (sample.labels["channel"], sample.labels["authenticator"], sample.labels["result"]): int(sample.value)
            for sample in deliveries
        }
    )


def test_every_authenticator_admits_a_canary_event(stack):
    """One event for each authenticator, admitted at the first attempt; the canary is ready once all are stored."""
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
    """A token with the right claims, signed with a key that its issuer does not publish."""
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
    """A notification of SNS with a signature whose certificate does not exist."""
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
    ("path", "authenticator", "credentials", "body", "result"),
    [
        (EVENTBRIDGE, "key", lambda: {"x-helios-key": "wrong"}, b"{}", "wrong_key"),
        (EVENTBRIDGE, "sns", lambda: {"x-amz-sns-message-type": "Notification"}, notification(), "wrong_issuer"),
        (PUBSUB, "oidc", google, b"{}", "wrong_key"),
        (EVENTGRID, "secret", lambda: {"x-helios-key": "wrong"}, b"[]", "wrong_key"),
        (EVENTGRID, "entra", entra, b"[]", "wrong_key"),
        (CLOUDEVENTS, "hmac", webhook, b"{}", "wrong_key"),
    ],
)
def test_wrong_credentials_are_refused_where_loopback_is_trusted(stack, path, authenticator, credentials, body, result):
    """The credentials are made when the test runs, because old ones would be refused for their age."""
    channel = path.rpartition("/")[2]
    before = admissions(stack)
    rows = stack.rows("SELECT count(*) FROM dead_letters")

    answer = call(stack.config.api_url, path, body, {**JSON, **credentials()})

    assert (answer.status, answer.body["title"]) == (401, "Unauthorized")
    assert admissions(stack) - before == {(channel, authenticator, result): 1}
    assert stack.rows("SELECT count(*) FROM dead_letters") == rows
