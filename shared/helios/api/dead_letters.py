"""Dead letters: reading them, and replaying one of them."""

from datetime import UTC, datetime
from typing import Annotated, Literal, Protocol

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from helios.api.access import Access, Caller
from helios.api.parameters import After, Limit, Moment, Text
from helios.api.receive import read_json
from helios.api.replies import asked, documented, problem, rejection, reply
from helios.api.shapes import MAX_REPLAYS, PREVIEW_BYTES, Repair, Results, dead_letter_view, result_of
from helios.errors import Rejected
from helios.model.dead_letters import DeadLetterFilter
from helios.model.events import SourceOrUnknown
from helios.model.paging import Page
from helios.ports.audit import AuditReader
from helios.ports.dead_letters import DeadLetterReader
from helios.services.dead_letters import AlreadyReplayed, replay_dead_letter
from helios.services.ingest import Ingest

Id = Annotated[int, Path(ge=1, lt=2**63)]


DeadLetterSource = Annotated[SourceOrUnknown | None, Query(description="The cloud")]
DeadLetterStatus = Annotated[Literal["rejected", "contradictory"] | None, Query()]
Replayed = Annotated[bool | None, Query(description="Whether a replay succeeded")]

_repair = msgspec.json.Decoder(Repair)


class DeadLettersWithReplays(DeadLetterReader, AuditReader, Protocol):
    """Reads dead letters, and what the audit log says of their replays."""


def router(reader: DeadLettersWithReplays) -> APIRouter:
    """The routes that read dead letters."""
    routes = APIRouter(prefix="/api/v1", tags=["dead letters"])

    @routes.get(
        "/dead-letters",
        responses=documented(200, "DeadLetterPage", 400, 401, 403, 422, 429, 503),
    )
    def dead_letters(
        source: DeadLetterSource = None,
        status: DeadLetterStatus = None,
        field: Annotated[Text | None, Query(description="Exactly this field at fault")] = None,
        reason: Annotated[Text | None, Query(description="Exactly this reason")] = None,
        since: Annotated[Moment | None, Query(description="Received (last) at or after this")] = None,
        until: Annotated[Moment | None, Query(description="Received (first) before this")] = None,
        replayed: Replayed = None,
        after: After = None,
        limit: Limit = 50,
    ) -> Response:
        """List the deliveries that did not become events, each with its reason; the newest first."""
        where = DeadLetterFilter(
            source=source, status=status, field=field, reason=reason, since=since, until=until, replayed=replayed
        )
        page = reader.dead_letters(where, after=after, limit=limit)
        return reply(
            Page(
                items=[dead_letter_view(kept, shown_bytes=PREVIEW_BYTES) for kept in page.items],
                next_cursor=page.next_cursor,
            )
        )

    @routes.get(
        "/dead-letters/groups",
        responses=documented(200, "DeadLetterGroups", 401, 403, 422, 429, 503),
    )
    def dead_letter_groups(
        source: DeadLetterSource = None,
        status: DeadLetterStatus = None,
        since: Annotated[Moment | None, Query(description="Received (last) at or after this")] = None,
        until: Annotated[Moment | None, Query(description="Received (first) before this")] = None,
        replayed: Replayed = None,
        limit: Limit = 100,
    ) -> Response:
        """Group the dead letters by what is wrong with them, the most frequent first."""
        where = DeadLetterFilter(source=source, status=status, since=since, until=until, replayed=replayed)
        return reply(reader.dead_letter_groups(where, limit=limit))

    @routes.get(
        "/dead-letters/{id}",
        responses=documented(200, "DeadLetterView", 401, 403, 404, 422, 429, 503),
    )
    def dead_letter(
        id: Annotated[int, Path(ge=1, lt=2**63)],  # noqa: A002 - the field's word
    ) -> Response:
        """Show one dead letter, with all that was kept of its body, and its replays."""
        found = reader.dead_letter(id)
        if found is None:
            return problem(404, f"No dead letter has the id {id}")
        replays = reader.audit_log(subject=found.subject, limit=MAX_REPLAYS)
        return reply(dead_letter_view(found, replays=replays.items))

    return routes


def replay_router(ingest: Ingest, reader: DeadLetterReader, access: Access, *, max_body_bytes: int) -> APIRouter:
    """The route that replays a dead letter."""
    routes = APIRouter(prefix="/api/v1", tags=["dead letters"])
    may_replay = Depends(access.needs("replay"))

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

    return routes
