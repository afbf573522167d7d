"""Sending stored events, or many dead letters, once more."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from helios.api.access import Access, Caller
from helios.api.parameters import After, Limit
from helios.api.receive import read_json
from helios.api.replies import asked, documented, problem, rejection, reply
from helios.errors import Rejected
from helios.model.replay import ReplayRequest
from helios.ports.replay import ReplayJobs
from helios.services.replay_jobs import ReplayStarter

Id = Annotated[int, Path(ge=1, lt=2**63)]

_job = msgspec.json.Decoder(ReplayRequest)


def router(start: ReplayStarter, jobs: ReplayJobs, access: Access, *, max_body_bytes: int) -> APIRouter:
    """The routes for whoever looks after what did not reach others."""
    routes = APIRouter(prefix="/api/v1", tags=["replays"])
    may_replay, may_read = Depends(access.needs("replay")), Depends(access.needs("read"))

    @routes.post(
        "/replays",
        status_code=201,
        responses=documented(201, "ReplayJob", 401, 403, 413, 422, 429, 503) | documented(200, "Matching"),
        openapi_extra=asked("ReplayRequest", required=True),
    )
    async def create(request: Request, caller: Annotated[Caller, may_replay]) -> Response:
        """Begin to send stored events or dead letters once more; with ``dry_run`` only say what that would be.

        What arrives after the job was made is no part of it.
        """
        wanted = await read_json(request, _job, max_body_bytes)
        try:
            return await run_in_threadpool(_create, wanted, caller.name)
        except Rejected as fault:
            return rejection(fault.field, fault.reason, status=422)

    def _create(wanted: ReplayRequest, actor: str) -> Response:
        now = datetime.now(UTC)
        if wanted.dry_run:
            return reply(start.preview(wanted, now))
        return reply(start(wanted, actor=actor, now=now), status=201)

    @routes.get(
        "/replays", responses=documented(200, "ReplayPage", 400, 401, 403, 422, 429, 503), dependencies=[may_read]
    )
    def listed(after: After = None, limit: Limit = 50) -> Response:
        """List the jobs, the newest first."""
        return reply(jobs.page(after=after, limit=limit))

    @routes.get(
        "/replays/{id}", responses=documented(200, "ReplayJob", 401, 403, 404, 422, 429, 503), dependencies=[may_read]
    )
    def one(
        id: Id,  # noqa: A002 - the field's word
    ) -> Response:
        """Show how far a job has come."""
        job = jobs.get(id)
        return reply(job) if job else problem(404, f"No replay job has the id {id}")

    @routes.post("/replays/{id}/cancel", responses=documented(200, "ReplayJob", 401, 403, 404, 409, 422, 429, 503))
    def cancel(
        id: Id,  # noqa: A002 - the field's word
        caller: Annotated[Caller, may_replay],
    ) -> Response:
        """End a job that runs; the batch that is under way is the last one."""
        job = jobs.end(id, "cancelled", actor=caller.name, now=datetime.now(UTC))
        if job:
            return reply(job)
        known = jobs.get(id)
        return problem(409, f"It is {known.state}") if known else problem(404, f"No replay job has the id {id}")

    return routes
