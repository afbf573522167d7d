"""HTTP triggers: ``/api/<route>``."""

from http import HTTPStatus
from typing import Any

import azure.functions as func
from aiohttp import web
from azure.functions.meta import Datum
from multidict import CIMultiDict

from local.emulators.azure_host import keys, routes
from local.emulators.azure_host.converters import converter
from local.emulators.azure_host.errors import NotHostable
from local.emulators.azure_host.function_app import Function
from local.emulators.azure_host.invocation import Invoker
from local.emulators.azure_host.keys import Keys

_EVERY_METHOD = ("GET", "POST", "DELETE", "HEAD", "PATCH", "PUT", "OPTIONS")


class HttpFunction:
    """An HTTP function and its route.

    Attributes:
        function: the function.
        route: its route.
        methods: the HTTP methods it accepts.
    """

    def __init__(self, function: Function, prefix: str, access: Keys, invoker: Invoker) -> None:
        """Read the trigger's settings.

        Raises:
            NotHostable: the route uses a feature that is not imitated.
        """
        self.function = function
        try:
            self.route = routes.compile_route(prefix, function.settings.get("route") or function.name)
        except ValueError as error:
            raise NotHostable(f"function {function.name}: {error}") from error
        methods = function.settings.get("methods") or _EVERY_METHOD
        self.methods = frozenset(str(getattr(method, "value", method)).upper() for method in methods)
        self._accepted = _accepted_keys(function, access)
        self._invoker = invoker

    async def answer(self, request: web.Request, parameters: dict[str, str]) -> web.Response:
        """The function's response to a request, 401 without the key, or 500 when the function raises."""
        if self._accepted is not None and not keys.has_key(request, *self._accepted):
            return web.Response(status=HTTPStatus.UNAUTHORIZED)
        result = await self._invoker.invoke(self.function, await _request_datum(request, parameters))
        if result.error is not None:
            return web.Response(status=HTTPStatus.INTERNAL_SERVER_ERROR)
        try:
            return _response(converter("http").encode(result.value, expected_type=None))
        except NotImplementedError:  # as in the worker: the value is neither a response nor a string
            return web.Response(status=HTTPStatus.INTERNAL_SERVER_ERROR)


def _accepted_keys(function: Function, access: Keys) -> tuple[str, ...] | None:
    """The keys that the function accepts; None when it requires none."""
    level = function.settings.get("authLevel") or func.AuthLevel.FUNCTION
    match str(getattr(level, "value", level)).lower():
        case "anonymous":
            return None
        case "admin":
            return (access.master,)
        case _:
            return (access.default, access.master)


async def _request_datum(request: web.Request, parameters: dict[str, str]) -> Datum:
    def joined(values: Any) -> dict[str, Datum]:
        """The values of a repeated name are joined, as the real host passes them to its worker."""
        return {name: Datum(",".join(values.getall(name)), "string") for name in dict.fromkeys(values)}

    return Datum(
        {
            "method": Datum(request.method, "string"),
            "url": Datum(str(request.url), "string"),
            "headers": joined(request.headers),
            "query": joined(request.query),
            "params": {name: Datum(value, "string") for name, value in parameters.items()},
            "body": Datum(await request.read(), "bytes"),
        },
        "http",
    )


def _response(datum: Datum) -> web.Response:
    if datum.type != "http":
        return web.Response(text=datum.value)
    value = datum.value
    # aiohttp sets the content length.
    headers = [(name, header.value) for name, header in value["headers"].items() if name.lower() != "content-length"]
    headers += [("Set-Cookie", part.OutputString()) for cookie in value["cookies"] or () for part in cookie.values()]
    return web.Response(status=int(value["status_code"].value), body=value["body"].value, headers=CIMultiDict(headers))
