"""The API over REST, as google.api.http maps it: clients with ``transport="rest"``, and curl."""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import unquote

import grpc
import msgspec
from aiohttp import web
from google.protobuf import json_format

from local.emulators.pubsub.errors import Refused, invalid
from local.emulators.pubsub.methods import Message, Method
from local.stack.aiohttp_filter import refusing
from local.stack.request_filter import RequestFilter

MAX_REQUEST_BYTES = 20 * 1_048_576
"""More than the limit of a publish request, so that the emulator refuses a larger one with Pub/Sub's error."""

_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.FAILED_PRECONDITION: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.OUT_OF_RANGE: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS: HTTPStatus.CONFLICT,
    grpc.StatusCode.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
}
"""google/rpc/code.proto: the HTTP status of each code that the emulator uses."""

_SYSTEM_PARAMETERS = frozenset({"alt", "key", "fields", "prettyPrint", "quotaUser", "access_token", "callback"})
"""Query parameters of every Google API, which are no fields of a request; those with a ``$`` are others."""

_FIELD = re.compile(r"\{([a-z_.]+)=([^}]+)\}")


class _Route(NamedTuple):
    method: Method
    pattern: re.Pattern[str]
    field: str


def application(methods: Sequence[Method], rule: RequestFilter) -> web.Application:
    """The server of all methods.

    Args:
        methods: the methods.
        rule: refuses requests of web pages, which a browser sends to this port too.
    """
    routes = [_route(method) for method in methods]

    async def answer(request: web.Request) -> web.Response:
        try:
            response = await _answer(routes, request)
        except Refused as refused:
            return _error(refused)
        integers = "enum-encoding=int" in request.query.get("$alt", "")
        raw = type(response).pb(response) if hasattr(type(response), "pb") else response
        return web.json_response(text=json_format.MessageToJson(raw, use_integers_for_enums=integers))

    async def alive(_: web.Request) -> web.Response:
        return web.Response(text="Ok")

    app = web.Application(middlewares=[refusing(rule)], client_max_size=MAX_REQUEST_BYTES)
    app.add_routes([web.get("/", alive), web.route("*", "/{path:.*}", answer)])
    return app


def _route(method: Method) -> _Route:
    """``/v1/{topic=projects/*/topics/*}:publish`` becomes a pattern with one group."""
    match = _FIELD.search(method.path)
    if not match:
        raise ValueError(f"{method.path} has no field")
    value = match[2].replace("*", "[^/:]+")
    pattern = f"{re.escape(method.path[: match.start()])}({value}){re.escape(method.path[match.end() :])}"
    return _Route(method, re.compile(pattern), match[1])


async def _answer(routes: Sequence[_Route], request: web.Request) -> Message:
    for method, pattern, field in routes:
        match = pattern.fullmatch(request.rel_url.raw_path)
        if match and method.verb == request.method:
            content = _parsed(method, await request.read(), request.query)
            _set(content, field, unquote(match[1]))
            return await method.answer(method.request.wrap(content), remaining=None)
    raise Refused(
        grpc.StatusCode.UNIMPLEMENTED,
        f"{request.method} {request.path} is no method of Pub/Sub, or the emulator does not imitate it.",
    )


def _parsed(method: Method, body: bytes, query: Mapping[str, str]) -> Any:
    """The request in raw protobuf, from the body (POST, PUT, PATCH) or from the query.

    Raises:
        Refused: INVALID_ARGUMENT, it is no JSON, or does not fit the method.
    """
    fields = {name: value for name, value in query.items() if name not in _SYSTEM_PARAMETERS and name[0] != "$"}
    if body and method.verb in {"POST", "PUT", "PATCH"}:
        try:
            fields |= msgspec.json.decode(body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise invalid(f"The body is not a JSON object: {error}") from error
    content = method.request.pb()()
    try:
        json_format.ParseDict(fields, content)
    except json_format.ParseError as error:
        raise invalid(f"The request does not fit {method.name}: {error}") from error
    return content


def _set(content: Any, path: str, value: str) -> None:
    *parents, name = path.split(".")
    for parent in parents:
        content = getattr(content, parent)
    setattr(content, name, value)


def _error(refused: Refused) -> web.Response:
    status = _STATUS[refused.code]
    error = {"code": status.value, "message": refused.message, "status": refused.code.name}
    return web.json_response({"error": error}, status=status.value)
