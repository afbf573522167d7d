"""Taking dead letters in again, and who did."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from helios.api.access import Access, Caller
from helios.api.queries import Limit
from helios.api.receive import read_body
from helios.api.replies import documented, problem, rejection, reply
from helios.api.shapes import Repair, result_of
from helios.errors import UNREADABLE, Rejected
from helios.event import Delivery, Outcome
from helios.flows.replay import replay_dead_letter
from helios.ports import EventReader, EventStore

REPAIR = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Repair"}}}}

_repair = msgspec.json.Decoder(Repair)


def router(
    ingest: Callable[[Sequence[Delivery]], Sequence[Outcome]],
    store: EventStore,
    reader: EventReader,
    access: Access,
    *,
    max_body_bytes: int,
) -> APIRouter:
    """The routes for whoever looks after what did not become events."""
    routes = APIRouter(prefix="/api/v1", tags=["replays"])
    may_replay, may_read = Depends(access.needs("replay")), Depends(access.needs("read"))

    @routes.post(
        "/dead-letters/{id}/replay",
        responses=documented(200, "Result", 401, 403, 404, 409, 413, 422, 429, 503),
        openapi_extra={"requestBody": REPAIR},
    )
    async def replay(
        request: Request,
        id: Annotated[int, Path(ge=1, lt=2**63)],  # noqa: A002 - the field's word
        caller: Annotated[Caller, may_replay],
    ) -> Response:
        """Take a rejected delivery in again, as it was or with a repaired body; twice is as good as once."""
        given, too_large = await read_body(request, max_body_bytes)
        if too_large:
            return rejection("body", f"is larger than {max_body_bytes} bytes", status=413)
        try:
            fixed = _repaired(given)
            return await run_in_threadpool(_replay, id, fixed, caller.name)
        except Rejected as fault:
            return rejection(fault.field, fault.reason, status=422)

    def _replay(number: int, fixed: bytes | None, who: str) -> Response:
        kept = reader.dead_letter(number)
        if kept is None:
            return problem(404, f"No dead letter has the id {number}")
        if kept.letter.status == "contradictory":
            return problem(409, "It contradicts a stored event, and would again: what was stored first is believed")
        now = datetime.now(UTC)
        outcome = replay_dead_letter(kept, fixed, ingest=ingest, store=store, who=who, now=now)
        if outcome.status == "contradictory":
            return problem(409, f"{outcome.field} {outcome.reason}")
        if outcome.status == "rejected":
            return rejection(outcome.field or "body", outcome.reason or "can't be stored", status=422)
        return reply(result_of(outcome))

    @routes.get("/audit", responses=documented(200, "AuditLog", 401, 403, 422, 429, 503), dependencies=[may_read])
    def audit(limit: Limit = 50) -> Response:
        """List who did what, the last first."""
        return reply(reader.audit_log(limit=limit))

    return routes


def _repaired(given: bytes) -> bytes | None:
    if not given:
        return None
    try:
        body = _repair.decode(given).body
    except UNREADABLE as error:
        raise Rejected(str(error), field="request") from error
    return None if body is None else body.encode()
