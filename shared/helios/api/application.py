"""FastAPI, with endpoints that bypass its middleware and its router, for the requests of which there are thousands."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.types import Receive, Scope, Send

from helios.api.replies import INTERNAL_ERROR, problem
from helios.api.security_headers import added_headers

log = logging.getLogger("helios.api")

Endpoint = Callable[[Request], Awaitable[Response]]

_ORIGIN = b"origin"
_VARY = (b"vary", b"Origin")
"""Of every response that the middleware for CORS passes."""


class Application(FastAPI):
    """FastAPI. The plain POST requests of some paths go to their endpoints directly.

    The thirteen layers of middleware and routing between the server and an endpoint take more processor time than the
    endpoint of a webhook does. The response is the same, with the same headers. What is not plain takes the layers: a
    request with an Origin, which is of a browser, and every other path, method and protocol.
    """

    def __init__(self, **options: Any) -> None:
        """Take the options of FastAPI."""
        super().__init__(**options)
        self._direct: dict[str, tuple[Endpoint, Mapping[str, str]]] = {}

    def add_direct(self, path: str, endpoint: Endpoint, path_params: Mapping[str, str] | None = None) -> None:
        """Serve the plain POST requests of a path directly. There must be a route that serves its other requests.

        Args:
            path: the path, without parameters.
            endpoint: must not depend on FastAPI, for example on dependencies.
            path_params: what the router would find in the path.
        """
        self._direct[path] = (endpoint, path_params or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http" or scope["method"] != "POST" or not self._is_direct(scope):
            await super().__call__(scope, receive, send)
            return
        endpoint, scope["path_params"] = self._direct[scope["path"]]
        request = Request(scope, receive)
        try:
            response = await endpoint(request)
        except Exception as error:  # noqa: BLE001 - as the middleware does
            response = await self._failure(request, error)
        present = response.raw_headers
        headers = [*present, _VARY, *added_headers(scope["scheme"], present)]
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})

    def _is_direct(self, scope: Scope) -> bool:
        return scope["path"] in self._direct and all(name != _ORIGIN for name, _ in scope["headers"])

    async def _failure(self, request: Request, error: Exception) -> Response:
        """The response to an exception, from the same handlers as behind the middleware."""
        for class_ in type(error).__mro__:
            if handler := self.exception_handlers.get(class_):
                return await handler(request, error)  # type: ignore[no-any-return, misc]
        log.error("internal error", exc_info=error, extra={"path": request.scope["path"]})
        return problem(500, INTERNAL_ERROR)
