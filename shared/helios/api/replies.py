"""Answers: JSON from msgspec models, and every error as an RFC 9457 problem."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from helios.api.shapes import FieldError, Problem
from helios.auth.authenticator import Refused
from helios.errors import Rejected, Retryable

log = logging.getLogger("helios.api")

RETRY_AFTER_SECONDS = 5
DEFECT = "Helios has a defect: the log of this process says where"
NOT_NOW = (
    "It is not certain what became of this; send it again, which is safe: something that it takes is away, and the log "
    "of this process says what"
)


def reply(value: object, *, status: int = 200) -> Response:
    """A model as JSON."""
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json")


def problem(
    status: int, detail: str, *, errors: Sequence[FieldError] = (), headers: Mapping[str, str] | None = None
) -> Response:
    """An RFC 9457 problem; its type says nothing that the status doesn't, as section 4.2.1 puts it."""
    body = Problem(
        type="about:blank", title=HTTPStatus(status).phrase, status=status, detail=detail, errors=list(errors)
    )
    return Response(
        msgspec.json.encode(body), status_code=status, media_type="application/problem+json", headers=headers
    )


def rejection(field: str, reason: str, *, status: int) -> Response:
    """The answer to one delivery or parameter that can't be read."""
    return problem(status, f"{field} {reason}", errors=[FieldError(field=field, reason=reason)])


def documented(ok: int, schema: str, *errors: int) -> dict[int | str, dict[str, Any]]:
    """What a route can answer, for OpenAPI: on success one of the schemas (``A | B``), problems otherwise."""
    answers: dict[int | str, dict[str, Any]] = {ok: _content("application/json", schema, HTTPStatus(ok).phrase)}
    for status in errors:
        answers[status] = _content("application/problem+json", "Problem", HTTPStatus(status).phrase)
    return answers


def asked(shape: str, *, required: bool) -> dict[str, Any]:
    """The body that a route reads by itself, for OpenAPI."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{shape}"}}}
    return {"requestBody": {"content": content, "required": required}}


def _content(media_type: str, schema: str, description: str) -> dict[str, Any]:
    references = [{"$ref": f"#/components/schemas/{name}"} for name in schema.split(" | ")]
    answer = references[0] if len(references) == 1 else {"anyOf": references}
    return {"description": description, "content": {media_type: {"schema": answer}}}


def install(app: FastAPI) -> None:
    """Answer every error that leaves a route."""

    @app.exception_handler(Rejected)
    async def _rejected(_: Request, error: Rejected) -> Response:
        return rejection(error.field, error.reason, status=error.status)

    @app.exception_handler(Refused)
    async def _refused(_: Request, error: Refused) -> Response:
        # RFC 9110, section 11.6.1: a 401 names a scheme.
        headers = {"WWW-Authenticate": "Bearer"} if error.status == HTTPStatus.UNAUTHORIZED else {}
        if error.retry_after_seconds is not None:
            headers["Retry-After"] = str(error.retry_after_seconds)
        return problem(error.status, f"Not let in: {error.reason}", headers=headers)

    @app.exception_handler(Retryable)
    async def _retryable(request: Request, error: Retryable) -> Response:
        # What is wrong names hosts, users and URLs: it is for who reads the log.
        log.warning("asked to come again", extra={"path": request.url.path, "error": str(error)})
        return problem(503, NOT_NOW, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> Response:
        errors = [
            FieldError(field=".".join(str(part) for part in found["loc"]), reason=str(found["msg"]))
            for found in error.errors()
        ]
        return problem(422, "; ".join(f"{one.field}: {one.reason}" for one in errors), errors=errors)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        detail = f"{request.method} {request.url.path}: {error.detail}"
        return problem(error.status_code, detail, headers=error.headers)


class Defects:
    """Answers a defect of ours with a problem too, inside of what every answer is given; the log has the rest."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; a WebSocket, and an answer that has begun, end as their server has it."""
        begun = scope["type"] != "http"

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception:
            if begun:
                raise
            log.exception("a defect", extra={"path": scope["path"]})
            await problem(500, DEFECT)(scope, receive, send)
