"""The webhooks: one for each cloud, and one for CloudEvents from any source."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute
from starlette.routing import Route

from helios.api.replies import rejection, reply, responses
from helios.api.shapes import Results, ValidationResponse, result_of
from helios.api.webhook_receiver import WebhookReceiver
from helios.model.events import Channel, Delivery, Outcome
from helios.normalise.eventgrid import validation_code
from helios.services.batching import Coalescer

ORIGIN = "webhook-request-origin"
"""The sender that asks for permission to send (CloudEvents HTTP 1.1 Web Hooks, section 4, "Abuse Protection")."""

ERRORS = (400, 401, 403, 408, 413, 415, 503)

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


def _body(example: object, media_type: str = "application/json") -> dict[str, Any]:
    """The body of a route that reads its body itself, for OpenAPI."""
    return {"requestBody": {"required": True, "content": {media_type: {"schema": {}, "example": example}}}}


def install(app: FastAPI, coalescer: Coalescer, receiver: WebhookReceiver) -> None:
    """Serve the four webhooks through one receiver and one coalescer, and describe them in OpenAPI."""
    documented = _router(coalescer, receiver)
    app.router.routes += served(documented)
    app.include_router(documented)  # for OpenAPI only: the plain routes come first, and so serve every request


def _router(coalescer: Coalescer, receiver: WebhookReceiver) -> APIRouter:
    routes = APIRouter(prefix="/api/v1/webhooks", tags=["webhooks"])

    async def ingest(request: Request, channel: Channel, status: int) -> Response:
        deliveries = await receiver.deliveries(request, channel)
        return _answer(deliveries, await coalescer.submit(deliveries), status)

    @routes.post(
        "/aws/eventbridge",
        status_code=202,
        responses=responses(202, "Result", *ERRORS),
        openapi_extra=_body(EXAMPLE_EVENTBRIDGE),
    )
    async def ingest_eventbridge(request: Request) -> Response:
        """Ingest an EventBridge event from an API destination or inside an SNS notification."""
        return await ingest(request, "eventbridge", 202)

    @routes.post("/gcp/pubsub", responses=responses(200, "Result", *ERRORS), openapi_extra=_body(EXAMPLE_PUBSUB))
    async def ingest_pubsub(request: Request) -> Response:
        """Ingest a Pub/Sub push: wrapped, unwrapped with metadata, or as a CloudEvent."""
        return await ingest(request, "pubsub", 200)

    @routes.post(
        "/azure/eventgrid",
        responses=responses(200, "Result | Results | ValidationResponse", *ERRORS),
        openapi_extra=_body(EXAMPLE_EVENTGRID),
    )
    async def ingest_eventgrid(request: Request) -> Response:
        """Ingest Event Grid events of either schema, and answer its validation handshake."""
        deliveries = await receiver.deliveries(request, "eventgrid")
        if len(deliveries) == 1 and (code := validation_code(request.headers, deliveries[0].body)):
            return reply(ValidationResponse(validation_response=code))
        return _answer(deliveries, await coalescer.submit(deliveries), 200)

    @routes.post(
        "/cloudevents",
        status_code=202,
        responses=responses(202, "Result | Results", *ERRORS),
        openapi_extra=_body(EXAMPLE_CLOUDEVENT, "application/cloudevents+json"),
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

    Raises:
        TypeError: a route declares a dependency or a parameter, which a plain route would ignore.
    """
    routes = []
    for route in channels.routes:
        if not isinstance(route, APIRoute) or route.dependant.dependencies or get_flat_params(route.dependant):
            raise TypeError(f"{route} declares a dependency or a parameter, which a plain route ignores")
        routes.append(Route(route.path, route.endpoint, methods=route.methods))
    return routes


def _answer(deliveries: Sequence[Delivery], outcomes: Sequence[Outcome], status: int) -> Response:
    """One result, or one for each element of an array.

    A request of which everything was rejected gets the first reason. A mixed array is a success: its rejected elements
    are stored as dead letters, and sending the array again would not change them.
    """
    first = outcomes[0]
    if all(outcome.status == "rejected" for outcome in outcomes):
        return rejection(first.field or "body", first.reason or "can't be read", status=first.http_status)
    if len(deliveries) == 1:
        return reply(result_of(first), status=status)
    return reply(Results(results=[result_of(outcome) for outcome in outcomes]), status=status)
