"""The HTTP server of the emulator: publishing, configuration and status."""

from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from local.emulators.eventgrid import blobs, dead_letters
from local.emulators.eventgrid.emulator import Emulator
from local.emulators.eventgrid.errors import Refused
from local.emulators.eventgrid.schemas import MAX_REQUEST_BYTES, too_large
from local.emulators.eventgrid.subscription import Subscription
from local.emulators.eventgrid.topic import InputSchema, InputSchemaMapping
from local.stack.aiohttp_filter import refusing
from local.stack.request_filter import LOOPBACK_ONLY, RequestFilter

_NAME = "{%s:[A-Za-z0-9-]{3,64}}"
"""Azure's rule for the names of topics and event subscriptions."""
_TOPIC = f"/topics/{_NAME % 'topic'}"
_SUBSCRIPTION = f"{_TOPIC}/eventSubscriptions/{_NAME % 'subscription'}"

_Form = TypeVar("_Form")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _TopicProperties(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    input_schema: InputSchema = "EventGridSchema"
    input_schema_mapping: InputSchemaMapping | None = None

    def __post_init__(self) -> None:
        """Require a mapping for the schema that needs one, and for no other."""
        if (self.input_schema == "CustomEventSchema") != (self.input_schema_mapping is not None):
            raise ValueError("inputSchemaMapping belongs to the inputSchema CustomEventSchema")


class _PutTopic(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A topic in a PUT. Azure generates the keys; here the caller may set them, to configure publishers beforehand."""

    properties: _TopicProperties = msgspec.field(default_factory=_TopicProperties)
    key1: str | None = None
    key2: str | None = None


class _PutSubscription(msgspec.Struct, forbid_unknown_fields=True):
    properties: Subscription


def application(emulator: Emulator, rule: RequestFilter = LOOPBACK_ONLY) -> web.Application:
    """The web application of the emulator; it starts and stops the emulator."""
    app = web.Application(middlewares=[refusing(rule), _vendor_errors], client_max_size=MAX_REQUEST_BYTES + 1)
    routes = _Routes(emulator)
    app.add_routes(
        [
            web.post(f"{_TOPIC}/api/events", routes.publish),
            web.get("/topics", routes.list_topics),
            web.put(_TOPIC, routes.put_topic),
            web.get(_TOPIC, routes.get_topic),
            web.delete(_TOPIC, routes.delete_topic),
            web.post(f"{_TOPIC}/listKeys", routes.list_keys),
            web.get(f"{_TOPIC}/eventSubscriptions", routes.list_subscriptions),
            web.put(_SUBSCRIPTION, routes.put_subscription),
            web.get(_SUBSCRIPTION, routes.get_subscription),
            web.delete(_SUBSCRIPTION, routes.delete_subscription),
            web.get(f"{_SUBSCRIPTION}/validate", routes.validate),
            web.get(f"{dead_letters.PATH}/{{container:[a-z0-9-]+}}", routes.list_dead_letters),
            web.get(f"{dead_letters.PATH}/{{container:[a-z0-9-]+}}/{{blob:.+}}", routes.get_dead_letters),
            web.get("/{tenant}/discovery/v2.0/keys", routes.entra_keys),
            web.get("/health", routes.health),
            web.get("/status", routes.status),
        ]
    )

    async def run(_app: web.Application) -> AsyncIterator[None]:
        await emulator.start()
        yield
        await emulator.stop()

    app.cleanup_ctx.append(run)
    return app


class _Routes:
    """The request handlers: each one translates a request, calls the emulator, and translates the result."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    async def publish(self, request: web.Request) -> web.Response:
        self._emulator.publish(request.match_info["topic"], request.headers, await request.read())
        return web.Response()

    async def list_topics(self, _request: web.Request) -> web.Response:
        return _json({"value": self._emulator.topics()})

    async def put_topic(self, request: web.Request) -> web.Response:
        body = _decoded(await request.read(), _PutTopic)
        topic = await self._emulator.put_topic(
            request.match_info["topic"],
            body.properties.input_schema,
            body.properties.input_schema_mapping,
            key1=body.key1,
            key2=body.key2,
        )
        return _json(topic, HTTPStatus.CREATED)

    async def get_topic(self, request: web.Request) -> web.Response:
        return _json(self._emulator.topic(request.match_info["topic"]))

    async def delete_topic(self, request: web.Request) -> web.Response:
        await self._emulator.delete_topic(request.match_info["topic"])
        return web.Response()

    async def list_keys(self, request: web.Request) -> web.Response:
        return _json(self._emulator.keys(request.match_info["topic"]))

    async def list_subscriptions(self, request: web.Request) -> web.Response:
        return _json({"value": self._emulator.subscriptions(request.match_info["topic"])})

    async def put_subscription(self, request: web.Request) -> web.Response:
        body = _decoded(await request.read(), _PutSubscription)
        return _json(await self._emulator.put_subscription(*_names(request), body.properties), HTTPStatus.CREATED)

    async def get_subscription(self, request: web.Request) -> web.Response:
        return _json(self._emulator.subscription(*_names(request)))

    async def delete_subscription(self, request: web.Request) -> web.Response:
        await self._emulator.delete_subscription(*_names(request))
        return web.Response()

    async def validate(self, request: web.Request) -> web.Response:
        self._emulator.validate(*_names(request), request.query.get("id", ""))
        return web.Response(text="Webhook successfully validated as a subscription endpoint")

    async def list_dead_letters(self, request: web.Request) -> web.Response:
        found = self._dead_letters(request).listing(
            request.match_info["container"],
            prefix=request.query.get("prefix", ""),
            marker=request.query.get("marker", ""),
            most=min(int(request.query.get("maxresults", blobs.MAX_RESULTS)), blobs.MAX_RESULTS),
        )
        return web.Response(text=found, content_type="application/xml")

    async def get_dead_letters(self, request: web.Request) -> web.Response:
        range_ = request.headers.get("x-ms-range") or request.headers.get("Range")
        return self._dead_letters(request).get(request.match_info["container"], request.match_info["blob"], range_)

    def _dead_letters(self, request: web.Request) -> blobs.Blobs:
        return self._emulator.dead_letters(request.query.get("sig", ""))

    async def entra_keys(self, _request: web.Request) -> web.Response:
        return _json(self._emulator.entra.keys)

    async def health(self, _request: web.Request) -> web.Response:
        return _json({"status": "ready"})

    async def status(self, _request: web.Request) -> web.Response:
        return _json({"topics": self._emulator.status()})


@web.middleware
async def _vendor_errors(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Answer every error in Azure's form."""
    try:
        return await handler(request)
    except Refused as refused:
        return _json(refused.body, refused.status)
    except web.HTTPRequestEntityTooLarge:
        answer = too_large("array", MAX_REQUEST_BYTES)
        return _json(answer.body, answer.status)
    except web.HTTPException as error:
        status = HTTPStatus(error.status)
        return _json(Refused(status, f"{request.method} {request.path}: {status.phrase}.").body, status)


def _names(request: web.Request) -> tuple[str, str]:
    return request.match_info["topic"], request.match_info["subscription"]


def _json(content: Any, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.Response(body=msgspec.json.encode(content), status=status, content_type="application/json")


def _decoded(body: bytes, form: type[_Form]) -> _Form:
    try:
        return msgspec.json.decode(body or b"{}", type=form)
    except msgspec.DecodeError as error:
        raise Refused(HTTPStatus.BAD_REQUEST, f"{error}.", code="InvalidRequestContent") from error
