"""The signature schemes: the senders' own libraries and published examples sign, and Helios verifies."""

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime

import pytest
import stripe
from standardwebhooks.webhooks import Webhook

from helios.auth.authenticator import Refused
from helios.auth.hmac_signature import HmacSignature
from helios.errors import ConfigurationError
from helios.model.sources import Hmac
from helios.sources.declaration import shipped_scheme

STRIPE_SECRET = "whsec_test_secret_of_stripe"
OTHER_SECRET = "whsec_another_secret_of_stripe"
EVENT = json.dumps({"id": "evt_1", "object": "event", "type": "charge.succeeded"}).encode()


def authenticator(scheme: str | Hmac, *secrets: str, now: float | None = None) -> HmacSignature:
    known = shipped_scheme(scheme) if isinstance(scheme, str) else scheme
    clock = time.time if now is None else lambda: now
    return HmacSignature(known, secrets, variable="HELIOS_SOURCE_SECRETS", now=clock)


def verdict(signature: HmacSignature, headers: dict[str, str], body: bytes) -> str:
    """``admitted``, or the status and the code of the refusal."""
    try:
        assert signature.check(headers, body) == body
    except Refused as refused:
        return f"{refused.status} {refused.code}"
    return "admitted"


def stripe_header(body: bytes, *, secret: str = STRIPE_SECRET, at: float | None = None) -> str:
    """The header that Stripe's own library makes."""
    timestamp = int(time.time() if at is None else at)
    signature = stripe.WebhookSignature._compute_signature(f"{timestamp}.{body.decode()}", secret)
    return f"t={timestamp},v1={signature}"


def test_a_signature_of_stripes_library_is_admitted():
    assert verdict(authenticator("stripe", STRIPE_SECRET), {"stripe-signature": stripe_header(EVENT)}, EVENT) == (
        "admitted"
    )


def test_stripes_library_admits_what_helios_admits():
    """Both verify the same header, so that none of them is more lenient."""
    header = stripe_header(EVENT)
    assert stripe.Webhook.construct_event(EVENT, header, STRIPE_SECRET).id == "evt_1"
    assert verdict(authenticator("stripe", STRIPE_SECRET), {"stripe-signature": header}, EVENT) == "admitted"


@pytest.mark.parametrize(
    ("header", "body", "expected"),
    [
        pytest.param(lambda: stripe_header(EVENT, secret=OTHER_SECRET), EVENT, "401 wrong_key", id="wrong key"),
        pytest.param(lambda: stripe_header(EVENT, at=time.time() - 301), EVENT, "401 replayed", id="old"),
        pytest.param(lambda: stripe_header(EVENT), EVENT + b" ", "401 wrong_key", id="changed body"),
        pytest.param(
            lambda: stripe_header(EVENT).replace("v1=", "v0="), EVENT, "401 wrong_key", id="another version only"
        ),
        pytest.param(lambda: stripe_header(EVENT).partition(",")[2], EVENT, "401 malformed", id="no time"),
        pytest.param(lambda: "t=soon,v1=00", EVENT, "401 malformed", id="no number"),
        pytest.param(lambda: "", EVENT, "401 malformed", id="empty"),
    ],
)
def test_what_stripes_library_refuses_is_refused(header, body, expected):
    made = header()

    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body, made, STRIPE_SECRET)
    assert verdict(authenticator("stripe", STRIPE_SECRET), {"stripe-signature": made}, body) == expected


def test_a_time_in_the_future_is_refused():
    """Stripe's library admits it. A signature that is valid for long can be repeated for long."""
    headers = {"stripe-signature": stripe_header(EVENT, at=time.time() + 310)}

    assert verdict(authenticator("stripe", STRIPE_SECRET), headers, EVENT) == "401 replayed"


def test_while_a_key_rotates_either_signature_is_enough():
    """Stripe signs with both secrets for a day; Helios may know the old one, the new one, or both."""
    old, new = stripe_header(EVENT, secret=OTHER_SECRET), stripe_header(EVENT)
    both = f"{old},{new.partition(',')[2]}"

    for secrets in ([STRIPE_SECRET], [OTHER_SECRET], [STRIPE_SECRET, OTHER_SECRET]):
        assert verdict(authenticator("stripe", *secrets), {"stripe-signature": both}, EVENT) == "admitted"
    assert verdict(authenticator("stripe", STRIPE_SECRET, OTHER_SECRET), {"stripe-signature": old}, EVENT) == "admitted"


def test_githubs_published_example_is_admitted():
    """GitHub documentation, "Testing the webhook payload validation"."""
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    github = authenticator("github", "It's a Secret to Everybody")

    assert verdict(github, {"x-hub-signature-256": signature}, b"Hello, World!") == "admitted"
    upper_case = signature.upper().replace("SHA256", "sha256")
    assert verdict(github, {"x-hub-signature-256": upper_case}, b"Hello, World!") == "admitted"
    assert verdict(github, {"x-hub-signature-256": signature}, b"Hello, World?") == "401 wrong_key"
    assert verdict(github, {"x-hub-signature-256": signature.removeprefix("sha256=")}, b"Hello, World!") == (
        "401 wrong_key"
    )


def test_slacks_published_example_is_admitted():
    """Slack documentation, "Verifying requests from Slack"."""
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&"
        b"channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url="
        b"https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id="
        b"398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    headers = {
        "x-slack-request-timestamp": "1531420618",
        "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    }
    secret = "8f742231b10e8888abcd99yyyzzz85a5"

    assert verdict(authenticator("slack", secret, now=1531420618), headers, body) == "admitted"
    assert verdict(authenticator("slack", secret, now=1531420618 + 301), headers, body) == "401 replayed"
    assert verdict(authenticator("slack", secret, now=1531420618), headers, body + b"&") == "401 wrong_key"


def test_shopifys_scheme_is_the_hmac_of_rfc_4231_in_base64():
    """Shopify signs the body alone and publishes no example; RFC 4231, section 4.3 has one for the same function."""
    digest = bytes.fromhex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    headers = {"x-shopify-hmac-sha256": base64.b64encode(digest).decode()}
    shopify = authenticator("shopify", "Jefe")

    assert verdict(shopify, headers, b"what do ya want for nothing?") == "admitted"
    assert verdict(shopify, headers, b"what do ya want for something?") == "401 wrong_key"
    assert verdict(authenticator("shopify", "Jeff"), headers, b"what do ya want for nothing?") == "401 wrong_key"
    assert verdict(shopify, {"x-shopify-hmac-sha256": digest.hex()}, b"what do ya want for nothing?") == "401 wrong_key"


def test_a_signature_of_the_standard_webhooks_library_is_admitted():
    secret, now = "whsec_" + base64.b64encode(b"k" * 32).decode(), datetime.now(UTC)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": f"v1a,other {Webhook(secret).sign('msg_1', now, EVENT.decode())}",
    }

    assert verdict(authenticator("standard_webhooks", secret), headers, EVENT) == "admitted"
    assert verdict(authenticator("standard_webhooks", secret), headers | {"webhook-id": "msg_2"}, EVENT) == (
        "401 wrong_key"
    )


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_a_generic_hmac_says_algorithm_encoding_and_what_is_signed(algorithm, encoding):
    scheme = Hmac(
        header="x-signature",
        algorithm=algorithm,
        encoding=encoding,
        prefix="sig=",
        separator=";",
        signed="{x-request-id}|{x-time}|{body}",
        timestamp="x-time",
        tolerance_seconds=10,
        key="base64",
    )
    digest = hmac.new(b"k" * 16, b"r-1|1000|" + EVENT, getattr(hashlib, algorithm)).digest()
    text = digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()
    headers = {"x-request-id": "r-1", "x-time": "1000", "x-signature": f"v=2; sig={text}"}
    secret = base64.b64encode(b"k" * 16).decode()

    assert verdict(authenticator(scheme, secret, now=1010), headers, EVENT) == "admitted"
    assert verdict(authenticator(scheme, secret, now=1011), headers, EVENT) == "401 replayed"
    assert verdict(authenticator(scheme, secret, now=1010), headers | {"x-request-id": "r-2"}, EVENT) == "401 wrong_key"


def test_a_header_can_not_move_the_border_between_signed_parts():
    scheme = Hmac(header="x-signature", signed="{x-id}.{body}")
    signature = hmac.new(b"secret", b"a.1.{}", hashlib.sha256).hexdigest()

    assert verdict(authenticator(scheme, "secret"), {"x-id": "a", "x-signature": signature}, b"1.{}") == "admitted"
    assert verdict(authenticator(scheme, "secret"), {"x-id": "a.1", "x-signature": signature}, b"{}") == "401 malformed"


def test_without_a_secret_nothing_is_admitted():
    empty = hmac.new(b"", EVENT, hashlib.sha256).hexdigest()

    assert verdict(authenticator("github"), {"x-hub-signature-256": f"sha256={empty}"}, EVENT) == "401 wrong_key"


@pytest.mark.parametrize(("scheme", "secret"), [("standard_webhooks", "secret"), ("base64", "not base64!")])
def test_a_secret_of_the_wrong_form_is_a_configuration_error_that_does_not_show_it(scheme, secret):
    known = Hmac(header="x", key="base64") if scheme == "base64" else scheme
    with pytest.raises(ConfigurationError, match="HELIOS_SOURCE_SECRETS: expected") as error:
        authenticator(known, secret)
    assert secret not in str(error.value).replace("a secret in base64", "")
