"""What the OpenAPI document says beside the routes: the tags, the credentials, and the models as schemas."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from fastapi import FastAPI
from fastapi.routing import APIRoute

from helios import standard_webhooks
from helios.auth.secret import HEADER
from helios.shapes import SCHEMAS

TAGS: Final = [
    {"name": "webhooks", "description": "Where the clouds and the declared sources send their events"},
    {"name": "events", "description": "Stored events, and the counts of deliveries"},
    {"name": "sources", "description": "The three clouds and the declared sources"},
    {"name": "dead letters", "description": "Deliveries that did not become events"},
    {"name": "flows", "description": "Business processes across sources, and their verdicts"},
    {"name": "incidents", "description": "Problems of many flow instances with one cause"},
    {"name": "balances", "description": "What producers say they have published, and what arrived of it"},
    {"name": "resolutions", "description": "What people decide about flow instances"},
    {"name": "recoveries", "description": "Why legs are missing, and bringing them back from a cloud"},
    {"name": "live", "description": "The live stream; `/asyncapi.json` describes its WebSocket"},
    {"name": "status", "description": "Health and totals"},
    {"name": "audit", "description": "Who did what"},
    {"name": "replays", "description": "Jobs that send stored events or dead letters again"},
]
"""The tags of the routes, in the order of the documentation."""

SERVERS: Final = [{"url": "/", "description": "The API that serves this document"}]

LICENSE: Final = {"name": "Apache License 2.0", "identifier": "Apache-2.0"}

SECRET, SIGNATURE, SENDER_TOKEN, RELAY_SECRET = "SenderSecret", "SenderSignature", "SenderToken", "RelaySecret"
SCHEMES: Final[Mapping[str, Mapping[str, str]]] = {
    SECRET: {"type": "apiKey", "in": "header", "name": HEADER, "description": "A secret that sender and Helios share"},
    SIGNATURE: {
        "type": "apiKey",
        "in": "header",
        "name": standard_webhooks.SIGNATURE,
        "description": "A signature of Standard Webhooks 1.0.0 over the body, `webhook-id` and `webhook-timestamp`",
    },
    SENDER_TOKEN: {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token that the sender's cloud has signed",
    },
    RELAY_SECRET: {"type": "http", "scheme": "bearer", "description": "HELIOS_NOTIFY_SECRET"},
}
"""Credentials that routes check themselves. Those of readers come from FastAPI."""


_REFERENCE: Final = "#/components/schemas/{name}"


def proved_by(*schemes: str, otherwise: bool = False) -> dict[str, Any]:
    """The credentials of a route that checks them itself, one of these; none: it needs no credentials.

    Args:
        schemes: names in ``SCHEMES``.
        otherwise: whether another proof may replace them, such as a signature in the body.
    """
    return {"security": [{name: []} for name in schemes] + ([{}] if otherwise else [])}


def operation_id(route: APIRoute) -> str:
    """The name of a route's function: generated clients name their functions by it."""
    return route.name


def describe(app: FastAPI) -> None:
    """Add the msgspec models and the senders' credentials to the document: FastAPI knows neither."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            components = document.setdefault("components", {})
            components.setdefault("schemas", {}).update(schemas())
            components.setdefault("securitySchemes", {}).update(SCHEMES)
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way, "Extending OpenAPI"


def schemas() -> dict[str, Any]:
    """The JSON Schemas of all models by their names."""
    references, components = schemas_of(SCHEMAS.values())
    named = dict(zip(SCHEMAS, references, strict=True))
    for name, schema in named.items():
        generic = schema.get("$ref", "").removeprefix(_REFERENCE.format(name=""))
        if generic and generic != name:  # Page_Event_ becomes EventPage
            named[name] = components.pop(generic) | {"title": name}
    return {**named, **components}


def schemas_of(types: Iterable[Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A JSON Schema of each type, and the schemas to which they refer, by name."""
    references, components = msgspec.json.schema_components(list(types), ref_template=_REFERENCE)
    return [_tidy(reference) for reference in references], _tidy(components)


def _tidy(value: Any) -> Any:
    """The schemas in a form that generators of code read, and that is the same on every version of Python.

    msgspec describes a tuple of fixed length by ``prefixItems`` and ``items: false``. Most generators need a schema in
    ``items``, so that a tuple of equal types becomes an array of them with a fixed length. Only Python 3.13 and newer
    remove the indentation of docstrings.
    """
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_tidy(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    schema = {name: _tidy(item) for name, item in value.items()}
    if isinstance(description := schema.get("description"), str):
        schema["description"] = inspect.cleandoc(description)
    first, *others = schema.get("prefixItems") or [None]
    if schema.get("items") is False and all(other == first for other in others):
        del schema["prefixItems"]
        schema["items"] = first
    return schema
