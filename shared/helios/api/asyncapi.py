"""The AsyncAPI document of the live stream: its WebSockets and their messages, generated from the models."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, get_args

import msgspec
from fastapi import APIRouter, Response

from helios.api.openapi import LICENSE, schemas_of
from helios.api.replies import reply
from helios.model.counts import Count
from helios.model.stream import EventSummary, Hello, Message, NewFrames, Ping, Pong, Reached, StreamFrame
from helios.shapes import WEBSOCKET_PATH

DESCRIPTION: Final = (
    "Each batch that Helios stores is a frame with a gapless position. The WebSocket sends new frames; a client that "
    "has missed some reads them from `GET /api/v1/frames?after=POSITION` of the same API."
)

_AT: Final = datetime(2025, 11, 26, 12, tzinfo=UTC)
_EVENT: Final = EventSummary(
    source="aws",
    producer="shop.orders/123456789012/us-east-1",
    id="6a7e8feb-b491-4cf7-a9f1-bf3703467718",
    type="OrderPlaced",
    subject=None,
    time=_AT,
    received_at=_AT,
    order_id="ORD-1",
    customer_id="CUST-0001",
    amount=Decimal("999.99"),
)
_FRAME: Final = StreamFrame(
    position=18,
    published_at=_AT,
    counts=[Count(minute=_AT, source="aws", type="OrderPlaced", stored=1)],
    events=[_EVENT],
)
_EXAMPLES: Final[tuple[Message | Ping, ...]] = (
    Hello(position=17),
    NewFrames(frames=[_FRAME]),
    Reached(position=18),
    Pong(position=18),
    Ping(),
)
"""An example of each message."""

_TICKET: Final = {
    "type": "object",
    "properties": {"ticket": {"type": "string", "description": "A ticket of `POST /api/v1/ws/tickets`"}},
}


def router(version: str) -> APIRouter:
    """The route of the document."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/asyncapi.json")
    def asyncapi() -> Response:
        """Show the AsyncAPI document."""
        return reply(document(version))

    return routes


def document(version: str) -> dict[str, Any]:
    """The document.

    Args:
        version: the version of Helios.
    """
    _, schemas = schemas_of(map(type, _EXAMPLES))
    to_clients = [struct.__name__ for struct in get_args(Message)]
    channel = {
        "messages": {_name(example): {"$ref": f"#/components/messages/{_name(example)}"} for example in _EXAMPLES},
        "bindings": {"ws": {"method": "GET", "query": _TICKET}},
    }
    return {
        "asyncapi": "3.1.0",
        "info": {"title": "Helios live stream", "version": version, "description": DESCRIPTION, "license": _license()},
        "defaultContentType": "application/json",
        "servers": _servers(),
        "channels": {
            "stream": channel
            | {
                "address": WEBSOCKET_PATH,
                "description": "The WebSocket of the API",
                "servers": [{"$ref": "#/servers/api"}],
            },
            "gatewayStream": channel
            | {
                "address": "/",
                "description": "The WebSocket of the API Gateway. A client whose token is limited is refused.",
                "servers": [{"$ref": "#/servers/gateway"}],
            },
        },
        "operations": _operations("stream", to_clients) | _operations("gatewayStream", to_clients),
        "components": {
            "messages": {_name(example): _message(example) for example in _EXAMPLES},
            "schemas": schemas,
            "securitySchemes": {
                "ticket": {
                    "type": "httpApiKey",
                    "in": "query",
                    "name": "ticket",
                    "description": "Opens one WebSocket, once. The API needs none of a client on its own machine "
                    "where HELIOS_TRUST_LOOPBACK is true.",
                }
            },
        },
    }


def _license() -> dict[str, str]:
    return {"name": LICENSE["name"], "url": "https://www.apache.org/licenses/LICENSE-2.0"}


def _servers() -> dict[str, Any]:
    security = [{"$ref": "#/components/securitySchemes/ticket"}]
    return {
        "api": {
            "host": "{host}",
            "protocol": "ws",
            "description": "The API; `wss` behind a proxy with TLS",
            "variables": {"host": {"default": "localhost:8001", "description": "Host and port of the API"}},
            "security": security,
        },
        "gateway": {
            "host": "{host}",
            "pathname": "/{stage}",
            "protocol": "wss",
            "description": "The API Gateway of a deployment on AWS: Terraform's output `websocket_url`",
            "variables": {
                "host": {"default": "example.execute-api.us-east-1.amazonaws.com"},
                "stage": {"default": "live"},
            },
            "security": security,
        },
    }


def _operations(channel: str, to_clients: list[str]) -> dict[str, Any]:
    def messages(*names: str) -> list[dict[str, str]]:
        return [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in names]

    on = {"$ref": f"#/channels/{channel}"}
    return {
        f"{channel}Send": {
            "action": "send",
            "channel": on,
            "summary": "Send new frames to the client",
            "messages": messages(*(name for name in to_clients if name != Pong.__name__)),
        },
        f"{channel}Ping": {
            "action": "receive",
            "channel": on,
            "summary": "Answer a ping with the position",
            "messages": messages(Ping.__name__),
            "reply": {"channel": on, "messages": messages(Pong.__name__)},
        },
    }


def _message(example: Message | Ping) -> dict[str, Any]:
    return {
        "name": example.__struct_config__.tag,
        "summary": (type(example).__doc__ or "").partition("\n")[0],
        "payload": {"$ref": f"#/components/schemas/{_name(example)}"},
        "examples": [{"payload": msgspec.to_builtins(example)}],
    }


def _name(example: Message | Ping) -> str:
    return type(example).__name__
