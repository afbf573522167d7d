"""The handshake: ask an endpoint for its consent before any event is delivered.

Microsoft's "Endpoint validation with Event Grid event schema" and "... with CloudEvents schema".
"""

import asyncio
import logging
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import aiohttp
import msgspec

from local.emulators.eventgrid import payload
from local.emulators.eventgrid.entra import Entra
from local.emulators.eventgrid.errors import Refused
from local.emulators.eventgrid.subscription import ProvisioningState, Subscription, base_url
from local.emulators.eventgrid.topic import Topic

MANUAL_SECONDS = 300
"""How long the validation URL is valid."""

_TRIES = 2
_RETRY_SECONDS = 5
_REQUEST_RATE = "120"

log = logging.getLogger("helios.local.eventgrid")


async def validate(
    http: aiohttp.ClientSession,
    topic: Topic,
    name: str,
    subscription: Subscription,
    *,
    entra: Entra,
    code: str,
    validation_url: str,
    scale: float,
) -> ProvisioningState:
    """The state after the handshake: the endpoint consented, or must still GET the validation URL.

    Args:
        http: the HTTP client, with the response timeout set.
        topic: the topic of the subscription.
        name: the subscription's name.
        subscription: has the endpoint and the schema.
        entra: issues the token that the endpoint may require.
        code: the code that the endpoint must echo.
        validation_url: the URL that the endpoint may GET instead.
        scale: factor on the pause before the second try, for an endpoint that does not answer the first.

    Raises:
        Refused: 400, the endpoint did not consent.
    """
    ask = _ask_cloud_events if subscription.event_delivery_schema == "CloudEventSchemaV1_0" else _ask_event_grid
    authorization = entra.headers(subscription)
    problem = ""
    for attempt in range(_TRIES):
        if attempt:
            await asyncio.sleep(_RETRY_SECONDS * scale)
        try:
            return await ask(http, topic, name, subscription, authorization, code, validation_url)
        except TimeoutError:
            problem = "it did not answer in time"
        except aiohttp.ClientError as error:
            problem = f"it can't be reached ({type(error).__name__})"
    raise _failed(subscription, problem)


async def _ask_event_grid(
    http: aiohttp.ClientSession,
    topic: Topic,
    name: str,
    subscription: Subscription,
    authorization: Mapping[str, str],
    code: str,
    validation_url: str,
) -> ProvisioningState:
    """POST a SubscriptionValidationEvent: 200 with its code is consent, 200 without it requires manual consent."""
    event = {
        "id": str(uuid.uuid4()),
        "topic": topic.id,
        "subject": "",
        "data": {"validationCode": code, "validationUrl": validation_url},
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "metadataVersion": "1",
        "dataVersion": "2",
    }
    headers = {
        **payload.headers("SubscriptionValidation", name, subscription),
        **authorization,
        "aeg-data-version": "2",
    }
    async with http.post(
        subscription.webhook.endpoint_url, json=[event], headers=headers, allow_redirects=False
    ) as response:
        content = await response.read()
        if response.status != HTTPStatus.OK:
            raise _failed(subscription, f"it answered {response.status}, not 200")
    return "Succeeded" if _validation_response(content) == code else "AwaitingManualAction"


def _validation_response(content: bytes) -> Any:
    try:
        answer = msgspec.json.decode(content)
    except msgspec.DecodeError:
        return None
    return answer.get("validationResponse") if isinstance(answer, dict) else None


async def _ask_cloud_events(
    http: aiohttp.ClientSession,
    _topic: Topic,
    name: str,
    subscription: Subscription,
    authorization: Mapping[str, str],
    _code: str,
    validation_url: str,
) -> ProvisioningState:
    """Send OPTIONS as in CloudEvents' "HTTP 1.1 Web Hooks for Event Delivery", section 4."""
    headers = {
        **payload.headers("SubscriptionValidation", name, subscription),
        **authorization,
        "WebHook-Request-Origin": payload.ORIGIN,
        "WebHook-Request-Callback": validation_url,
        "WebHook-Request-Rate": _REQUEST_RATE,
    }
    async with http.options(subscription.webhook.endpoint_url, headers=headers, allow_redirects=False) as response:
        await response.read()
        if response.status >= HTTPStatus.MULTIPLE_CHOICES:
            raise _failed(subscription, f"it answered OPTIONS with {response.status}")
        allowed = response.headers.get("WebHook-Allowed-Origin")
    if allowed is None:
        return "AwaitingManualAction"
    if allowed not in ("*", payload.ORIGIN):
        raise _failed(subscription, f"it allows the origin {allowed}, not {payload.ORIGIN}")
    return "Succeeded"


def _failed(subscription: Subscription, problem: str) -> Refused:
    url = base_url(subscription.webhook.endpoint_url)
    return Refused(
        HTTPStatus.BAD_REQUEST, f"Webhook validation handshake failed for {url}: {problem}.", code="Url validation"
    )
