"""Taking dead letters in again, one by one, and who did what."""

from datetime import UTC, datetime
from typing import Annotated, TypeVar

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from helios.api.access import Access, Caller
from helios.api.events import After, Limit, Text
from helios.api.receive import read_json
from helios.api.replies import asked, documented, problem, rejection, reply
from helios.api.shapes import Repair, Results, result_of
from helios.errors import Rejected
from helios.model.audit import Action
from helios.ports.events import EventReader
from helios.services.dead_letters import AlreadyReplayed, replay_dead_letter
from helios.services.ingest import Ingest

T = TypeVar("T")

Id = Annotated[int, Path(ge=1, lt=2**63)]


_repair = msgspec.json.Decoder(Repair)


def router(ingest: Ingest, reader: EventReader, access: Access, *, max_body_bytes: int) -> APIRouter:
    """The routes for whoever looks after what did not become events."""
    routes = APIRouter(prefix="/api/v1", tags=["replays"])
    may_replay, may_read = Depends(access.needs("replay")), Depends(access.needs("read"))

    @routes.post(
        "/dead-letters/{id}/replay",
        responses=documented(200, "Result | Results", 401, 403, 404, 409, 413, 422, 429, 503),
        openapi_extra=asked("Repair", required=False),
    )
    async def replay(
        request: Request,
        id: Id,  # noqa: A002 - the field's word
        caller: Annotated[Caller, may_replay],
    ) -> Response:
        """Take a rejected delivery in again, as it was or with a repaired body; twice is as good as once.

        A body that is an array has a result an element; it is taken in whole or not at all. A letter that has become
        an event becomes no other one: 409.
        """
        repair = await read_json(request, _repair, max_body_bytes, empty=Repair())
        fixed = None if repair.body is None else repair.body.encode()
        try:
            return await run_in_threadpool(_replay, id, fixed, caller.name)
        except Rejected as fault:
            return rejection(fault.field, fault.reason, status=422)

    def _replay(number: int, fixed: bytes | None, actor: str) -> Response:
        kept = reader.dead_letter(number)
        if kept is None:
            return problem(404, f"No dead letter has the id {number}")
        if kept.dead_letter.status == "contradictory":
            return problem(409, "It contradicts a stored event, and would again: what was stored first is believed")
        try:
            outcomes = replay_dead_letter(kept, fixed, ingest=ingest, actor=actor, now=datetime.now(UTC))
        except AlreadyReplayed as error:
            return problem(409, f"It was replayed: {error}")
        if len(outcomes) > 1:
            return reply(Results(results=[result_of(outcome) for outcome in outcomes]))
        (outcome,) = outcomes
        if outcome.status == "contradictory":
            return problem(409, f"{outcome.field} {outcome.reason}")
        return reply(result_of(outcome))

    @routes.get("/audit", responses=documented(200, "AuditPage", 400, 401, 403, 422, 429, 503), dependencies=[may_read])
    def audit(
        action: Annotated[Action | None, Query(description="Only lines of this action")] = None,
        subject: Annotated[
            Text | None, Query(description="Only lines of this: `replay job 3`, `dead letter 17`")
        ] = None,
        after: After = None,
        limit: Limit = 50,
    ) -> Response:
        """List who did what, the last first."""
        return reply(reader.audit_log(action=action, subject=subject, after=after, limit=limit))

    return routes
