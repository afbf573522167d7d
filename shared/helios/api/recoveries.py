"""Recoveries: why the legs of a flow instance are missing, and bringing them back from a cloud."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from helios.api.access import Access, Caller, Dependency, ViewDependency
from helios.api.parameters import After, Limit, Text
from helios.api.receive import read_json
from helios.api.replies import half_instance, problem, rejection, reply, request_body, responses
from helios.errors import Rejected
from helios.model.events import MAX_ID_CHARS
from helios.model.recoveries import RecoveryRequest
from helios.ports.recoveries import Recoveries
from helios.services.recoveries import RecoveryStarter
from helios.services.views import View

Id = Annotated[int, Path(ge=1, lt=2**63)]

_recovery_request = msgspec.json.Decoder(RecoveryRequest)


def router(view: ViewDependency) -> APIRouter:
    """The route that says why legs are missing."""
    routes = APIRouter(prefix="/api/v1", tags=["recoveries"])

    @routes.get("/diagnoses", responses=responses(200, "Diagnoses", 401, 403, 404, 422, 429, 503))
    def diagnose_flow_instance(
        reader: Annotated[View, Depends(view)],
        flow: Annotated[Text, Query(description="The flow", max_length=40)],
        key: Annotated[Text, Query(description="The instance's key", max_length=MAX_ID_CHARS)],
    ) -> Response:
        """Say why each missing leg of a flow instance is missing: from dead letters, and from past recoveries."""
        diagnoses = reader.diagnoses(flow, key)
        return _unknown(flow, key) if diagnoses is None else reply(diagnoses)

    return routes


def reading_router(recoveries: Recoveries, may_read: Dependency) -> APIRouter:
    """The routes that read recoveries. Each names an instance: they need a token without limits."""
    routes = APIRouter(prefix="/api/v1/recoveries", tags=["recoveries"], dependencies=[Depends(may_read)])

    @routes.get("", responses=responses(200, "RecoveryPage", 400, 401, 403, 422, 429, 503))
    def list_recoveries(
        flow: Annotated[Text | None, Query(description="With key: only of this instance", max_length=40)] = None,
        key: Annotated[Text | None, Query(description="The instance's key", max_length=MAX_ID_CHARS)] = None,
        after: After = None,
        limit: Limit = 50,
    ) -> Response:
        """List the recoveries of missing legs, the newest first."""
        if refusal := half_instance(flow, key):
            return refusal
        instance = (flow, key) if flow is not None and key is not None else None
        return reply(recoveries.page(instance=instance, after=after, limit=limit))

    @routes.get("/{id}", responses=responses(200, "Recovery", 401, 403, 404, 422, 429, 503))
    def show_recovery(id: Id) -> Response:  # noqa: A002 - the name in the path
        """Show one recovery: what was found in each place, and the outcome."""
        recovery = recoveries.get(id)
        return reply(recovery) if recovery else problem(404, f"No recovery has the id {id}.")

    return routes


def starting_router(starter: RecoveryStarter, access: Access, *, max_body_bytes: int) -> APIRouter:
    """The route that starts a recovery: like a replay, it needs a token without limits."""
    routes = APIRouter(prefix="/api/v1/recoveries", tags=["recoveries"])
    may_replay = Depends(access.require("replay"))

    @routes.post(
        "",
        status_code=201,
        responses=responses(201, "Recovery", 401, 403, 404, 408, 409, 413, 422, 429, 503),
        openapi_extra=request_body("RecoveryRequest", required=True),
    )
    async def start_recovery(request: Request, caller: Annotated[Caller, may_replay]) -> Response:
        """Bring back one missing leg of one flow instance from the places that HELIOS_RECOVERY_PLACES names.

        The answer comes before the search; `GET /api/v1/recoveries/{id}` shows the outcome. Nothing is stored twice.
        """
        asked = await read_json(request, _recovery_request, max_body_bytes)
        return await run_in_threadpool(start, asked, caller)

    def start(asked: RecoveryRequest, caller: Caller) -> Response:
        try:
            recovery = starter(asked, actor=caller.name, now=datetime.now(UTC))
        except Rejected as fault:
            return rejection(fault.field, fault.reason, status=fault.status)
        return reply(recovery, status=201) if recovery else problem(409, "A recovery of this leg is running.")

    return routes


def _unknown(flow: str, key: str) -> Response:
    return problem(404, f"No instance of the flow {flow!r} has the key {key!r}.")
