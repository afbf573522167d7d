"""Incidents: reading them, and what users do to them."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from helios.api.access import Access, Caller, ViewDependency
from helios.api.parameters import After, Limit, Text
from helios.api.receive import read_json
from helios.api.replies import problem, rejection, reply, request_body, responses
from helios.errors import Rejected
from helios.model.incidents import (
    Acknowledge,
    Assign,
    IncidentAction,
    IncidentFilter,
    IncidentKind,
    IncidentState,
    Snooze,
)
from helios.model.sources import SOURCE_PATTERN, Source
from helios.ports.incidents import IncidentReader
from helios.services.views import View, Views

Id = Annotated[int, Path(ge=1, lt=2**63)]

_ACTION_ERRORS = (401, 403, 404, 408, 409, 413, 422, 429, 503)

T = TypeVar("T", bound=IncidentAction)
Action = TypeVar("Action", bound=Callable[..., object])


def router(view: ViewDependency) -> APIRouter:
    """The routes that read incidents."""
    routes = APIRouter(prefix="/api/v1/incidents", tags=["incidents"])

    @routes.get("", responses=responses(200, "IncidentPage", 400, 401, 403, 422, 429, 503))
    def list_incidents(
        reader: Annotated[View, Depends(view)],
        state: Annotated[IncidentState | None, Query(description="Only incidents in this state")] = None,
        kind: Annotated[list[IncidentKind] | None, Query(description="Only incidents of one of these kinds")] = None,
        flow: Annotated[Text | None, Query(description="Only incidents of this flow", max_length=40)] = None,
        source: Annotated[
            Source | None, Query(description="Only incidents of this source", pattern=SOURCE_PATTERN)
        ] = None,
        snoozed: Annotated[bool | None, Query(description="Only incidents that are, or are not, snoozed now")] = None,
        after: After = None,
        limit: Limit = 50,
    ) -> Response:
        """List incidents, the last opened first."""
        where = IncidentFilter(
            state=state, kind=tuple(kind or ()), flow=flow, source=source, snoozed=snoozed, now=datetime.now(UTC)
        )
        return reply(reader.incidents(where, after=after, limit=limit))

    @routes.get("/{id}", responses=responses(200, "Incident", 401, 403, 404, 422, 429, 503))
    def show_incident(
        reader: Annotated[View, Depends(view)],
        id: Id,  # noqa: A002 - the name in the path
    ) -> Response:
        """Show one incident: what it counts, and who works on it."""
        incident = reader.incident(id)
        return reply(incident) if incident else _unknown(id)

    @routes.get("/{id}/instances", responses=responses(200, "FlowPage", 400, 401, 403, 404, 422, 429, 503))
    def list_incident_instances(
        reader: Annotated[View, Depends(view)],
        id: Id,  # noqa: A002 - the name in the path
        after: After = None,
        limit: Limit = 50,
    ) -> Response:
        """List the flow instances that an incident counts, the last opened first."""
        incident = reader.incident(id)
        return reply(reader.incident_instances(incident, after=after, limit=limit)) if incident else _unknown(id)

    return routes


def actions_router(incidents: IncidentReader, access: Access, views: Views, *, max_body_bytes: int) -> APIRouter:
    """The routes with which users work on incidents: each changes what the caller may see, and nothing else."""
    routes = APIRouter(prefix="/api/v1/incidents", tags=["incidents"])
    may_resolve = Depends(access.require("resolve", narrows=True))

    def post(path: str, shape: str, *, required: bool) -> Callable[[Action], Action]:
        return routes.post(
            path,
            responses=responses(200, "Incident", *_ACTION_ERRORS),
            openapi_extra=request_body(shape, required=required),
        )

    async def act(id_: int, request: Request, caller: Caller, shape: type[T], empty: T | None = None) -> Response:
        try:
            action = await read_json(request, msgspec.json.Decoder(shape), max_body_bytes, empty=empty)
        except Rejected as fault:
            return rejection(fault.field, fault.reason, status=fault.status)
        return await run_in_threadpool(apply, id_, action, caller)

    def apply(id_: int, action: IncidentAction, caller: Caller) -> Response:
        view = views(caller.visibility)
        if view.incident(id_) is None:
            return _unknown(id_)
        incident = incidents.act(id_, action, actor=caller.name, now=datetime.now(UTC))
        if incident is None:
            return problem(409, f"Incident {id_} is resolved. Only an open incident can be changed.")
        return reply(view.masked_incident(incident))

    @post("/{id}/acknowledge", "Acknowledge", required=False)
    async def acknowledge_incident(
        request: Request,
        id: Id,  # noqa: A002 - the name in the path
        caller: Annotated[Caller, may_resolve],
    ) -> Response:
        """Acknowledge an incident, or withdraw that."""
        return await act(id, request, caller, Acknowledge, Acknowledge())

    @post("/{id}/snooze", "Snooze", required=True)
    async def snooze_incident(
        request: Request,
        id: Id,  # noqa: A002 - the name in the path
        caller: Annotated[Caller, may_resolve],
    ) -> Response:
        """Snooze an incident until a time; if it is still open then, its receivers are notified again."""
        return await act(id, request, caller, Snooze)

    @post("/{id}/assign", "Assign", required=True)
    async def assign_incident(
        request: Request,
        id: Id,  # noqa: A002 - the name in the path
        caller: Annotated[Caller, may_resolve],
    ) -> Response:
        """Assign an incident to a person or team, or to nobody."""
        return await act(id, request, caller, Assign)

    return routes


def _unknown(id_: int) -> Response:
    return problem(404, f"No incident has the id {id_}.")
