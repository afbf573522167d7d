"""Replay jobs, which send stored events or dead letters again."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from helios.api.access import Access, Caller
from helios.api.parameters import After, Limit
from helios.api.receive import read_json
from helios.api.replies import problem, rejection, reply, request_body, responses
from helios.errors import Rejected
from helios.model.replay import ReplayJob, ReplayRequest, without_secrets
from helios.model.tokens import grants
from helios.ports.replay import ReplayJobs
from helios.services.replay import ReplayStarter
from helios.services.views import Views

Id = Annotated[int, Path(ge=1, lt=2**63)]

_replay_request = msgspec.json.Decoder(ReplayRequest)


def router(start: ReplayStarter, jobs: ReplayJobs, access: Access, views: Views, *, max_body_bytes: int) -> APIRouter:
    """The routes that start, list, show and cancel replay jobs."""
    routes = APIRouter(prefix="/api/v1", tags=["replays"])
    may_replay, may_read = Depends(access.require("replay")), Depends(access.require("read", narrows=True))

    @routes.post(
        "/replays",
        status_code=201,
        responses=responses(201, "ReplayJob", 401, 403, 408, 413, 422, 429, 503) | responses(200, "Matching"),
        openapi_extra=request_body("ReplayRequest", required=True),
    )
    async def start_replay_job(request: Request, caller: Annotated[Caller, may_replay]) -> Response:
        """Start a job that sends stored events or dead letters again; with ``dry_run``, only count them.

        The job does not include what arrives after its creation.
        """
        replay_request = await read_json(request, _replay_request, max_body_bytes)
        try:
            return await run_in_threadpool(_create, replay_request, caller.name)
        except Rejected as fault:
            return rejection(fault.field, fault.reason, status=422)

    def _create(replay_request: ReplayRequest, actor: str) -> Response:
        now = datetime.now(UTC)
        if replay_request.dry_run:
            return reply(start.preview(replay_request, now))
        return reply(start(replay_request, actor=actor, now=now), status=201)

    @routes.get("/replays", responses=responses(200, "ReplayPage", 400, 401, 403, 422, 429, 503))
    def list_replay_jobs(caller: Annotated[Caller, may_read], after: After = None, limit: Limit = 50) -> Response:
        """List the replay jobs, the newest first."""
        page = views(caller.visibility).jobs(after=after, limit=limit)
        return reply(msgspec.structs.replace(page, items=[_visible(job, caller) for job in page.items]))

    @routes.get("/replays/{id}", responses=responses(200, "ReplayJob", 401, 403, 404, 422, 429, 503))
    def show_replay_job(
        id: Id,  # noqa: A002 - the name in the path
        caller: Annotated[Caller, may_read],
    ) -> Response:
        """Show a replay job and its progress."""
        job = views(caller.visibility).job(id)
        return reply(_visible(job, caller)) if job else problem(404, f"No replay job has the id {id}.")

    @routes.post("/replays/{id}/cancel", responses=responses(200, "ReplayJob", 401, 403, 404, 409, 422, 429, 503))
    def cancel_replay_job(
        id: Id,  # noqa: A002 - the name in the path
        caller: Annotated[Caller, may_replay],
    ) -> Response:
        """Cancel a running replay job; the batch in progress is still sent."""
        job = jobs.end(id, "cancelled", actor=caller.name, now=datetime.now(UTC))
        if job:
            return reply(job)
        ended = jobs.get(id)
        return (
            problem(409, f"Replay job {id} is {ended.state}.")
            if ended
            else problem(404, f"No replay job has the id {id}.")
        )

    return routes


def _visible(job: ReplayJob, caller: Caller) -> ReplayJob:
    """The job as the caller may see it."""
    return job if grants(caller.scopes, "replay") else without_secrets(job)
