"""The ways in: one webhook per cloud, and one for CloudEvents from anywhere."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute
from starlette.routing import Route

from helios.api.replies import documented, rejection, reply
from helios.api.shapes import Results, ValidationResponse, result_of
from helios.api.webhook_receiver import WebhookReceiver
from helios.model.events import Channel, Delivery, Outcome
from helios.normalise.eventgrid import validation_code
from helios.services.batching import Coalescer

ORIGIN = "webhook-request-origin"
"""Who asks whether it may send (CloudEvents HTTP 1.1 Web Hooks, section 4, "Abuse Protection")."""

ERRORS = (400, 401, 403, 413, 415, 503)

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
    """OpenAPI's description of a body that the route reads by itself."""
    return {"requestBody": {"required": True, "content": {media_type: {"schema": {}, "example": example}}}}


def install(app: FastAPI, coalescer: Coalescer, receiver: WebhookReceiver) -> None:
    """Serve the four ways in, all through one entrance into one coalescer, and let OpenAPI describe them."""
    described = _router(coalescer, receiver)
    app.router.routes += served(described)
    app.include_router(described)  # after these, so that it serves nothing


def _router(coalescer: Coalescer, receiver: WebhookReceiver) -> APIRouter:
    routes = APIRouter(prefix="/api/v1/webhooks", tags=["webhooks"])

    async def take_in(request: Request, channel: Channel, status: int) -> Response:
        deliveries = await receiver.deliveries(request, channel)
        return _answer(deliveries, await coalescer.submit(deliveries), status)

    @routes.post(
        "/aws/eventbridge",
        status_code=202,
        responses=documented(202, "Result", *ERRORS),
        openapi_extra=_body(EXAMPLE_EVENTBRIDGE),
    )
    async def eventbridge(request: Request) -> Response:
        """Take in an EventBridge event: from an API destination, or inside an SNS notification."""
        return await take_in(request, "eventbridge", 202)

    @routes.post("/gcp/pubsub", responses=documented(200, "Result", *ERRORS), openapi_extra=_body(EXAMPLE_PUBSUB))
    async def pubsub(request: Request) -> Response:
        """Take in a Pub/Sub push: wrapped, unwrapped with metadata, or as a CloudEvent."""
        return await take_in(request, "pubsub", 200)

    @routes.post(
        "/azure/eventgrid",
        responses=documented(200, "Result | Results | ValidationResponse", *ERRORS),
        openapi_extra=_body(EXAMPLE_EVENTGRID),
    )
    async def eventgrid(request: Request) -> Response:
        """Take in Event Grid events of either schema, and answer its validation handshake."""
        deliveries = await receiver.deliveries(request, "eventgrid")
        if len(deliveries) == 1 and (code := validation_code(request.headers, deliveries[0].body)):
            return reply(ValidationResponse(validation_response=code))
        return _answer(deliveries, await coalescer.submit(deliveries), 200)

    @routes.post(
        "/cloudevents",
        status_code=202,
        responses=documented(202, "Result | Results", *ERRORS),
        openapi_extra=_body(EXAMPLE_CLOUDEVENT, "application/cloudevents+json"),
    )
    async def cloudevents(request: Request) -> Response:
        """Take in CloudEvents 1.0: structured, batch or binary."""
        return await take_in(request, "cloudevents", 202)

    @routes.options("/cloudevents", include_in_schema=False)
    @routes.options("/azure/eventgrid", include_in_schema=False)
    async def handshake(request: Request) -> Response:
        """Allow the sender that asks, with the proof that its deliveries will carry."""
        if ORIGIN in request.headers:
            await receiver.admit(request, "eventgrid" if request.url.path.endswith("eventgrid") else "cloudevents")
        return _allowed(request.headers)

    return routes


def _allowed(headers: Mapping[str, str]) -> Response:
    """Consent to be sent events by the origin that asks (CloudEvents HTTP 1.1 Web Hooks, section 4.2)."""
    consent = {"Allow": "POST"}
    if ORIGIN not in headers:
        return Response(status_code=204, headers=consent)
    consent["WebHook-Allowed-Origin"] = headers[ORIGIN]
    if "webhook-request-rate" in headers:
        consent["WebHook-Allowed-Rate"] = "*"
    return Response(status_code=200, headers=consent)


def served(channels: APIRouter) -> list[Route]:
    """The same routes without what FastAPI does for each request, which is a third of its CPU, and of no use to them.

    Raises:
        TypeError: a route of them asks FastAPI for something, a dependency or a parameter, which would be ignored.
    """
    routes = []
    for route in channels.routes:
        if not isinstance(route, APIRoute) or route.dependant.dependencies or get_flat_params(route.dependant):
            raise TypeError(f"{route} asks FastAPI for something that it would be served without")
        routes.append(Route(route.path, route.endpoint, methods=route.methods))
    return routes


def _answer(deliveries: Sequence[Delivery], outcomes: Sequence[Outcome], status: int) -> Response:
    """One result, or one for each element of an array.

    A request of which nothing could be read is answered with the first reason; a mixed array is a success, since
    what was rejected in it is kept, and sending it again would not help.
    """
    first = outcomes[0]
    if all(outcome.status == "rejected" for outcome in outcomes):
        return rejection(first.field or "body", first.reason or "can't be read", status=first.http_status)
    if len(deliveries) == 1:
        return reply(result_of(first), status=status)
    return reply(Results(results=[result_of(outcome) for outcome in outcomes]), status=status)
