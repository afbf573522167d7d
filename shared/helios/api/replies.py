"""Responses: JSON from msgspec models, and every error as an RFC 9457 problem."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from helios.auth.authenticator import Refused
from helios.errors import Rejected, Retryable
from helios.shapes import FieldError, Problem
from helios.toml_file import TomlError

log = logging.getLogger("helios.api")

RETRY_AFTER_SECONDS = 5
INTERNAL_ERROR = "Internal error. The log of this process has the details."
UNAVAILABLE = (
    "A service that Helios needs is unavailable, so the result of this request is unknown. Repeat the request; that is "
    "safe. The log of this process has the details."
)


_PHRASES = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}
"""The phrases of RFC 9110 that Python's ``HTTPStatus`` has from 3.13 on; before, it has those of older RFCs."""


def phrase(status: int) -> str:
    """The name of a status (RFC 9110, section 15): the same on every version of Python."""
    return _PHRASES.get(status) or HTTPStatus(status).phrase


def reply(value: object, *, status: int = 200) -> Response:
    """A model as JSON."""
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json")


def problem(
    status: int, detail: str, *, errors: Sequence[FieldError] = (), headers: Mapping[str, str] | None = None
) -> Response:
    """An RFC 9457 problem of the type ``about:blank``, which adds nothing to the status (section 4.2.1)."""
    body = Problem(type="about:blank", title=phrase(status), status=status, detail=detail, errors=list(errors))
    return Response(
        msgspec.json.encode(body), status_code=status, media_type="application/problem+json", headers=headers
    )


def rejection(field: str, reason: str, *, status: int) -> Response:
    """The problem for one field of a delivery, or one parameter, that is invalid."""
    return problem(status, f"{field} {reason}", errors=[FieldError(field=field, reason=reason)])


def half_instance(flow: str | None, key: str | None) -> Response | None:
    """The problem of a filter with one half of an identity of a flow instance; None if it has both or none."""
    if (flow is None) == (key is None):
        return None
    return rejection("key" if key is None else "flow", "is missing: an instance has both", status=422)


def responses(ok: int, schema: str, *errors: int) -> dict[int | str, dict[str, Any]]:
    """The responses of a route, for OpenAPI: on success one of the schemas (``A | B``), a problem otherwise."""
    described: dict[int | str, dict[str, Any]] = {ok: _content("application/json", schema, phrase(ok))}
    for status in errors:
        described[status] = _content("application/problem+json", "Problem", phrase(status))
    return described


def request_body(shape: str, *, required: bool) -> dict[str, Any]:
    """The body of a route that reads its body itself, for OpenAPI."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{shape}"}}}
    return {"requestBody": {"content": content, "required": required}}


def _content(media_type: str, schema: str, description: str) -> dict[str, Any]:
    references = [{"$ref": f"#/components/schemas/{name}"} for name in schema.split(" | ")]
    reference = references[0] if len(references) == 1 else {"anyOf": references}
    return {"description": description, "content": {media_type: {"schema": reference}}}


def install(app: FastAPI) -> None:
    """Turn every exception of a route into a problem."""

    @app.exception_handler(Rejected)
    async def _rejected(_: Request, error: Rejected) -> Response:
        return rejection(error.field, error.reason, status=error.status)

    @app.exception_handler(TomlError)
    async def _wrong_toml(_: Request, error: TomlError) -> Response:
        field = error.key or "text"
        where = f"line {error.line}: {field}" if error.line and error.key else field
        errors = [FieldError(field=field, reason=error.reason, line=error.line)]
        return problem(422, f"{where}: {error.reason}", errors=errors)

    @app.exception_handler(Refused)
    async def _refused(_: Request, error: Refused) -> Response:
        # RFC 9110, section 11.6.1: a 401 has to name a scheme.
        headers = {"WWW-Authenticate": "Bearer"} if error.status == HTTPStatus.UNAUTHORIZED else {}
        if error.retry_after_seconds is not None:
            headers["Retry-After"] = str(error.retry_after_seconds)
        return problem(error.status, error.reason, headers=headers)

    @app.exception_handler(Retryable)
    async def _retryable(request: Request, error: Retryable) -> Response:
        # The error may name hosts, users and URLs, so only the log gets it.
        log.warning("answered 503, the client will retry", extra={"path": request.url.path, "error": str(error)})
        return problem(503, UNAVAILABLE, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> Response:
        errors = [
            FieldError(field=".".join(str(part) for part in fault["loc"]), reason=_reason(fault))
            for fault in error.errors()
        ]
        return problem(422, "; ".join(f"{fault.field}: {fault.reason}" for fault in errors), errors=errors)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        detail = f"{request.method} {request.url.path}: {error.detail}"
        return problem(error.status_code, detail, headers=error.headers)


def _reason(fault: Mapping[str, Any]) -> str:
    """What is wrong with a value. Pydantic counts the "items" of a text that it checks together with other types."""
    if fault["type"] == "too_long" and isinstance(fault["input"], str):
        return f"String should have at most {fault['ctx']['max_length']} characters"
    return str(fault["msg"])


class InternalErrors:
    """Answers an unexpected exception with a problem, and logs it.

    As the innermost middleware, so that its answers get the headers that the others add.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; an exception in a WebSocket, or after the response has started, is left to the server."""
        started = scope["type"] != "http"

        async def observed_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, observed_send)
        except Exception:
            if started:
                raise
            log.exception("internal error", extra={"path": scope["path"]})
            await problem(500, INTERNAL_ERROR)(scope, receive, send)
