"""Resolutions: what people decide about flow instances."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from helios.api.access import Access, Caller, Dependency
from helios.api.parameters import After, Limit, Text
from helios.api.receive import read_json
from helios.api.replies import half_instance, problem, rejection, reply, request_body, responses
from helios.errors import Rejected
from helios.model.events import MAX_ID_CHARS
from helios.model.resolutions import ResolutionRequest
from helios.ports.resolutions import Resolutions
from helios.services.resolutions import resolve
from helios.services.views import Views

Id = Annotated[int, Path(ge=1, lt=2**63)]

_resolution_request = msgspec.json.Decoder(ResolutionRequest)


def router(resolutions: Resolutions, access: Access, views: Views, *, max_body_bytes: int) -> APIRouter:
    """The routes that change resolutions.

    Args:
        resolutions: where they are stored.
        access: identifies the caller.
        views: what a caller may see: no step concerns an instance of another flow.
        max_body_bytes: the largest body.
    """
    routes = APIRouter(prefix="/api/v1", tags=["resolutions"])
    may_resolve, may_undo = Depends(access.require("resolve", narrows=True)), Depends(access.require("resolve"))

    @routes.post(
        "/resolutions",
        status_code=201,
        responses=responses(201, "ResolutionAction", 401, 403, 408, 413, 422, 429, 503)
        | responses(200, "ResolutionAction"),
        openapi_extra=request_body("ResolutionRequest", required=True),
    )
    async def resolve_flow_instances(request: Request, caller: Annotated[Caller, may_resolve]) -> Response:
        """Assign, annotate, accept, write off or reopen flow instances: those listed, or all that a filter finds.

        With `dry_run`, only count them. The verdicts of Helios stay as they are.
        """
        asked = await read_json(request, _resolution_request, max_body_bytes)
        flows = views(caller.visibility).declarations
        try:
            action = await run_in_threadpool(
                resolve, asked, resolutions=resolutions, flows=flows, actor=caller.name, now=datetime.now(UTC)
            )
        except Rejected as fault:
            return rejection(fault.field, fault.reason, status=422)
        return reply(action, status=200 if asked.dry_run else 201)

    @routes.post(
        "/resolutions/{id}/undo",
        status_code=201,
        responses=responses(201, "ResolutionAction", 401, 403, 404, 409, 422, 429, 503),
    )
    def undo_resolution(
        id: Id,  # noqa: A002 - the name in the path
        caller: Annotated[Caller, may_undo],
    ) -> Response:
        """Restore what an action has changed, except for flow instances that a later action has changed again."""
        try:
            action = resolutions.undo(id, actor=caller.name, now=datetime.now(UTC))
        except Rejected as fault:
            return problem(409, f"Resolution {fault.reason}.")
        return reply(action, status=201) if action else problem(404, f"No resolution has the id {id}.")

    return routes


def reading_router(resolutions: Resolutions, may_read: Dependency) -> APIRouter:
    """The route that lists actions. Their texts may quote any value: it needs a token without limits."""
    routes = APIRouter(prefix="/api/v1", tags=["resolutions"])

    @routes.get(
        "/resolutions",
        responses=responses(200, "ResolutionPage", 400, 401, 403, 422, 429, 503),
        dependencies=[Depends(may_read)],
    )
    def list_resolutions(
        flow: Annotated[
            Text | None, Query(description="With key: only what concerned this instance", max_length=40)
        ] = None,
        key: Annotated[Text | None, Query(description="The instance's key", max_length=MAX_ID_CHARS)] = None,
        after: After = None,
        limit: Limit = 50,
    ) -> Response:
        """List what people did about flow instances, the newest first."""
        if refusal := half_instance(flow, key):
            return refusal
        instance = (flow, key) if flow is not None and key is not None else None
        return reply(resolutions.actions(instance=instance, after=after, limit=limit))

    return routes
