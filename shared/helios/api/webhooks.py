"""The webhooks: one for each cloud, one for CloudEvents from any cloud, and one for each declared source."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute
from starlette.routing import Route

from helios.api.application import Application
from helios.api.openapi import SECRET, SENDER_TOKEN, SIGNATURE, proved_by
from helios.api.replies import problem, rejection, reply, responses
from helios.api.webhook_receiver import WebhookReceiver
from helios.errors import UNREADABLE, quote
from helios.model.events import Channel, Delivery, Outcome
from helios.model.sources import SOURCE_PATTERN
from helios.normalise.eventgrid import validation_code
from helios.services.batching import Coalescer
from helios.shapes import Challenge, Results, ValidationResponse, result_of
from helios.sources.registry import Sources

ORIGIN = "webhook-request-origin"
"""The sender that asks for permission to send (CloudEvents HTTP 1.1 Web Hooks, section 4, "Abuse Protection")."""

PREFIX = "/api/v1/webhooks"

RETRY_ALL_ERRORS: frozenset[Channel] = frozenset({"pubsub"})
"""The channels whose cloud repeats a delivery after every answer but a success."""

ERRORS = (400, 401, 403, 408, 413, 415, 503)

SLACK = "slack"
URL_VERIFICATION = "url_verification"
"""The type of the request by which Slack checks that an endpoint is Helios' own."""

SOURCE_PARAMETER = {
    "name": "source",
    "in": "path",
    "required": True,
    "description": "The name of a declared source",
    "schema": {"type": "string", "pattern": SOURCE_PATTERN},
}

EXAMPLE_EVENTBRIDGE = {
    "version": "0",
    "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
    "detail-type": "OrderPlaced",
    "source": "shop.orders",
    "account": "123456789012",
    "time": "2025-11-26T12:00:00Z",
    "region": "us-east-1",
    "detail": {"order_id": "ORD-1", "customer_id": "CUST-0001", "amount": 999.99},
}
EXAMPLE_PUBSUB = {
    "message": {
        "messageId": "136969346945",
        "publishTime": "2025-11-26T12:00:00Z",
        "attributes": {"event_type": "PaymentProcessed"},
        "data": "eyJvcmRlcl9pZCI6ICJPUkQtMSIsICJhbW91bnQiOiA5OTkuOTl9",  # pragma: allowlist secret
    },
    "subscription": "projects/shop/subscriptions/helios",
}
EXAMPLE_EVENTGRID = [
    {
        "id": "b3cccc7d-cd06-42f3-8f45-cbb1f6ad4ae1",
        "topic": "/subscriptions/s/resourceGroups/g/providers/Microsoft.EventGrid/topics/stock",
        "subject": "orders/ORD-1",
        "eventType": "InventoryReserved",
        "eventTime": "2025-11-26T12:00:00Z",
        "data": {"order_id": "ORD-1", "quantity": 2},
        "dataVersion": "1.0",
    }
]
EXAMPLE_CLOUDEVENT = {
    "specversion": "1.0",
    "id": "A234-1234-1234",
    "source": "//pubsub.googleapis.com/projects/shop/topics/payments",
    "type": "PaymentProcessed",
    "time": "2025-11-26T12:00:00Z",
    "datacontenttype": "application/json",
    "data": {"order_id": "ORD-1", "amount": 999.99},
}


EXAMPLE_WEBHOOK = {
    "id": "evt_1NG8Du2eZvKYlo2CUI79vXWy",
    "object": "event",
    "type": "payment_intent.succeeded",
    "created": 1764158400,
    "data": {"object": {"amount": 99999, "currency": "usd", "metadata": {"order_id": "ORD-1"}}},
}


class _Handshake(msgspec.Struct):
    type: str
    challenge: str


_handshake = msgspec.json.Decoder(_Handshake)


def _body(example: object, media_type: str = "application/json") -> dict[str, Any]:
    """The body of a route that reads its body itself, for OpenAPI."""
    return {"requestBody": {"required": True, "content": {media_type: {"schema": {}, "example": example}}}}


def install(app: Application, coalescer: Coalescer, receiver: WebhookReceiver, sources: Sources) -> None:
    """Serve the webhooks through one receiver and one coalescer, and describe them in OpenAPI."""
    channels, of_sources = _router(coalescer, receiver), _source_router(coalescer, receiver, sources)
    for documented in (channels, of_sources):
        app.router.routes += served(documented)
        app.include_router(documented)  # for OpenAPI only: the plain routes come first, and so serve every request
    (of_source, _) = served(of_sources)
    for name in sources.declared:
        app.add_direct(f"{PREFIX}/{name}", of_source.endpoint, {"source": name})
    for route in served(channels):  # last: a declared source does not replace a channel
        if "POST" in (route.methods or ()):
            app.add_direct(route.path, route.endpoint)


def _router(coalescer: Coalescer, receiver: WebhookReceiver) -> APIRouter:
    routes = APIRouter(prefix=PREFIX, tags=["webhooks"])

    async def ingest(request: Request, channel: Channel, status: int) -> Response:
        deliveries = await receiver.deliveries(request, channel)
        outcomes = await coalescer.submit(deliveries) if deliveries else []
        return _answer(outcomes, status, always=channel in RETRY_ALL_ERRORS)

    @routes.post(
        "/aws/eventbridge",
        status_code=202,
        responses=responses(202, "Result | Results", *ERRORS),
        openapi_extra=_body(EXAMPLE_EVENTBRIDGE) | proved_by(SECRET, otherwise=True),
    )
    async def ingest_eventbridge(request: Request) -> Response:
        """Ingest an EventBridge event, or an array of them, from an API destination or inside an SNS notification."""
        return await ingest(request, "eventbridge", 202)

    @routes.post(
        "/gcp/pubsub",
        responses=responses(200, "Result", *ERRORS),
        openapi_extra=_body(EXAMPLE_PUBSUB) | proved_by(SENDER_TOKEN),
    )
    async def ingest_pubsub(request: Request) -> Response:
        """Ingest a Pub/Sub push: wrapped, unwrapped with metadata, or as a CloudEvent.

        A message that becomes a dead letter is acknowledged too: after any other answer Pub/Sub delivers it again until
        it expires, and holds back the messages behind it that have its ordering key.
        """
        return await ingest(request, "pubsub", 200)

    @routes.post(
        "/azure/eventgrid",
        responses=responses(200, "Result | Results | ValidationResponse", *ERRORS),
        openapi_extra=_body(EXAMPLE_EVENTGRID) | proved_by(SECRET, SENDER_TOKEN),
    )
    async def ingest_eventgrid(request: Request) -> Response:
        """Ingest Event Grid events of either schema, and answer its validation handshake."""
        deliveries = await receiver.deliveries(request, "eventgrid")
        if len(deliveries) == 1 and (code := validation_code(request.headers, deliveries[0].body)):
            return reply(ValidationResponse(validation_response=code))
        outcomes = await coalescer.submit(deliveries) if deliveries else []
        return _answer(outcomes, 200)

    @routes.post(
        "/cloudevents",
        status_code=202,
        responses=responses(202, "Result | Results", *ERRORS),
        openapi_extra=_body(EXAMPLE_CLOUDEVENT, "application/cloudevents+json") | proved_by(SIGNATURE),
    )
    async def ingest_cloudevents(request: Request) -> Response:
        """Ingest CloudEvents 1.0: structured, batch or binary."""
        return await ingest(request, "cloudevents", 202)

    @routes.options("/cloudevents", include_in_schema=False)
    @routes.options("/azure/eventgrid", include_in_schema=False)
    async def handshake(request: Request) -> Response:
        """Allow a sender to send if the request has the credentials of its deliveries."""
        if ORIGIN in request.headers:
            await receiver.admit(request, "eventgrid" if request.url.path.endswith("eventgrid") else "cloudevents")
        return _allowed(request.headers)

    return routes


def _source_router(coalescer: Coalescer, receiver: WebhookReceiver, sources: Sources) -> APIRouter:
    routes = APIRouter(prefix=PREFIX, tags=["webhooks"])

    @routes.post(
        "/{source}",
        responses=responses(200, "Result | Results | Challenge", *ERRORS, 404),
        openapi_extra=_body(EXAMPLE_WEBHOOK)
        | {"parameters": [SOURCE_PARAMETER]}
        | proved_by(SENDER_TOKEN, otherwise=True),
    )
    async def ingest_source(request: Request) -> Response:
        """Ingest a webhook of a declared source, signed or authenticated as its declaration says."""
        name = request.path_params["source"]
        declaration = sources.declared.get(name)
        if declaration is None:
            return problem(404, _undeclared(name))
        deliveries = await receiver.deliveries(request, declaration.channel, declaration)
        if declaration.proof.name == SLACK and (challenge := url_challenge(deliveries)):
            return reply(Challenge(challenge=challenge))
        outcomes = await coalescer.submit(deliveries) if deliveries else []
        return _answer(outcomes, 200, always=declaration.acknowledge_all)

    return routes


def _undeclared(name: str) -> str:
    """The answer, which anybody may read: it names no other source."""
    return (
        f"No source {quote(name)} is declared. GET /api/v1/sources lists the declared ones; "
        "declare it in the file of HELIOS_SOURCES_FILE."
    )


def url_challenge(deliveries: Sequence[Delivery]) -> str | None:
    """The text to echo if a request is Slack's handshake, else None (Slack documentation, "url_verification event")."""
    if len(deliveries) != 1 or URL_VERIFICATION.encode() not in deliveries[0].body:
        return None
    try:
        handshake = _handshake.decode(deliveries[0].body)
    except UNREADABLE:
        return None  # the caller reads the body as an event, and reports what is wrong with it
    return handshake.challenge if handshake.type == URL_VERIFICATION else None


def _allowed(headers: Mapping[str, str]) -> Response:
    """Grant the origin of the request permission to send events (CloudEvents HTTP 1.1 Web Hooks, section 4.2)."""
    consent = {"Allow": "POST"}
    if ORIGIN not in headers:
        return Response(status_code=204, headers=consent)
    consent["WebHook-Allowed-Origin"] = headers[ORIGIN]
    if "webhook-request-rate" in headers:
        consent["WebHook-Allowed-Rate"] = "*"
    return Response(status_code=200, headers=consent)


def served(channels: APIRouter) -> list[Route]:
    """The same routes as plain Starlette routes: FastAPI's work per request takes a third of its CPU time, for nothing.

    Each also serves its path with a slash at the end: no cloud follows the redirect that the router answers otherwise.

    Raises:
        TypeError: a route declares a dependency or a parameter, which a plain route would ignore.
    """
    routes = []
    for route in channels.routes:
        if not isinstance(route, APIRoute) or route.dependant.dependencies or get_flat_params(route.dependant):
            raise TypeError(f"{route} declares a dependency or a parameter, which a plain route ignores")
        routes += [Route(path, route.endpoint, methods=route.methods) for path in (route.path, f"{route.path}/")]
    return routes


def _answer(outcomes: Sequence[Outcome], status: int, *, always: bool = False) -> Response:
    """One result, or one for each element of an array; an empty batch has none.

    A request of which everything was rejected gets the first reason. A mixed array is a success: its rejected elements
    are stored as dead letters, and sending the array again would not change them.

    Args:
        outcomes: of each delivery.
        status: the status of success.
        always: whether to answer with it what was rejected, too.
    """
    if outcomes and not always and all(outcome.status == "rejected" for outcome in outcomes):
        first = outcomes[0]
        return rejection(first.field or "body", first.reason or "can't be read", status=first.http_status)
    if len(outcomes) == 1:
        return reply(result_of(outcomes[0]), status=status)
    return reply(Results(results=[result_of(outcome) for outcome in outcomes]), status=status)
