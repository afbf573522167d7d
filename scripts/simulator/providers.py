"""The sources outside the clouds, which post to Helios' webhooks: the requests of each, signed as it signs them."""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import msgspec
from msgspec import Raw

from helios.errors import ConfigurationError
from helios.model.sources import Source

from .plan import Emission
from .poisons import ENVELOPE_POISONS

SECRETS: Final = "HELIOS_SOURCE_SECRETS"

Request = tuple[dict[str, str], bytes]
"""The headers and the body of a request."""


class _StripeEvent(msgspec.Struct):
    """The fields of an event (Stripe API, "The Event object"); ``data`` has the object."""

    id: str
    object: str
    api_version: str
    created: int
    data: Raw
    livemode: bool
    pending_webhooks: int
    type: str


class Provider(NamedTuple):
    """A provider.

    Attributes:
        path: the path of its webhook.
        request: the request for an event, with a secret.
    """

    path: str
    request: Callable[[Emission, str], Request]


def stripe(emission: Emission, secret: str) -> Request:
    """An event of Stripe, signed as "Verify webhook signatures manually" in Stripe's documentation says."""
    event = _StripeEvent(
        id=emission.id,
        object="event",
        api_version="2025-09-30.clover",
        created=int(emission.time.timestamp()),
        data=Raw(emission.data),
        livemode=False,
        pending_webhooks=1,
        type=emission.type,
    )
    body = _malformed(emission, msgspec.json.encode(event))
    timestamp = int(time.time())
    signature = hmac.new(secret.encode(), b"%d.%s" % (timestamp, body), hashlib.sha256).hexdigest()
    return {"stripe-signature": f"t={timestamp},v1={signature}"}, body


def shopify(emission: Emission, secret: str) -> Request:
    """An event of Shopify, signed as "Verify webhook deliveries" in Shopify's documentation says."""
    body = _malformed(emission, emission.data)
    signature = base64.b64encode(hmac.digest(secret.encode(), body, "sha256")).decode()
    headers = {
        "x-shopify-topic": emission.type,
        "x-shopify-webhook-id": emission.id,
        "x-shopify-triggered-at": emission.time.isoformat().replace("+00:00", "Z"),
        "x-shopify-hmac-sha256": signature,
    }
    return headers, body


def _malformed(emission: Emission, body: bytes) -> bytes:
    malform = ENVELOPE_POISONS.get(emission.poison or "")
    return malform(body) if malform else body


PROVIDERS: Final[Mapping[Source, Provider]] = {
    "stripe": Provider("/api/v1/webhooks/stripe", stripe),
    "shopify": Provider("/api/v1/webhooks/shopify", shopify),
}


def secrets(environ: Mapping[str, str]) -> dict[Source, str]:
    """The newest secret of each provider, in Helios' own setting.

    Raises:
        ConfigurationError: an entry has another form than NAME=SECRET.
    """
    found: dict[Source, str] = {}
    for entry in environ.get(SECRETS, "").split():
        name, equals, secret = entry.partition("=")
        if not equals:
            raise ConfigurationError(f"{SECRETS}: write NAME=SECRET")
        found[name] = secret
    return found


def secret_of(source: Source, known: Mapping[Source, str]) -> str:
    """The secret of a provider.

    Raises:
        ConfigurationError: there is none.
    """
    if source not in known:
        raise ConfigurationError(f"{SECRETS} has no {source}=SECRET. Add it, or leave {source} out with --source.")
    return known[source]
