"""Dead letters, and the replay of one."""

from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from helios.api.access import Access, Caller, ViewDependency
from helios.api.parameters import After, Limit, Moment, Text
from helios.api.receive import read_json
from helios.api.replies import problem, rejection, reply, request_body, responses
from helios.errors import Rejected
from helios.model.dead_letters import DeadLetterFilter
from helios.model.paging import Page
from helios.model.sources import SOURCE_PATTERN, Source
from helios.ports.audit import AuditReader
from helios.ports.dead_letters import DeadLetterReader
from helios.services.dead_letters import AlreadyReplayed, replay_dead_letter
from helios.services.ingest import Ingest
from helios.services.views import View
from helios.shapes import MAX_REPLAYS, PREVIEW_BYTES, Repair, Results, dead_letter_view, result_of
from helios.sources.registry import Sources

Id = Annotated[int, Path(ge=1, lt=2**63)]


DeadLetterSource = Annotated[
    Source | None, Query(description="Only dead letters of this source, or unknown", pattern=SOURCE_PATTERN)
]
DeadLetterStatus = Annotated[Literal["rejected", "contradictory"] | None, Query()]
Replayed = Annotated[bool | None, Query(description="Only dead letters whose replay has, or has not, succeeded")]

_repair = msgspec.json.Decoder(Repair)


def router(view: ViewDependency, audit: AuditReader) -> APIRouter:
    """The routes that read dead letters."""
    routes = APIRouter(prefix="/api/v1", tags=["dead letters"])

    @routes.get(
        "/dead-letters",
        responses=responses(200, "DeadLetterPage", 400, 401, 403, 422, 429, 503),
    )
    def list_dead_letters(
        reader: Annotated[View, Depends(view)],
        source: DeadLetterSource = None,
        status: DeadLetterStatus = None,
        field: Annotated[Text | None, Query(description="Only dead letters with exactly this field at fault")] = None,
        reason: Annotated[Text | None, Query(description="Only dead letters with exactly this reason")] = None,
        since: Annotated[Moment | None, Query(description="Last received at or after this time")] = None,
        until: Annotated[Moment | None, Query(description="First received before this time")] = None,
        replayed: Replayed = None,
        after: After = None,
        limit: Limit = 50,
    ) -> Response:
        """List the deliveries that did not become events, with the reasons, the newest first."""
        where = DeadLetterFilter(
            source=source, status=status, field=field, reason=reason, since=since, until=until, replayed=replayed
        )
        page = reader.dead_letters(where, after=after, limit=limit)
        return reply(
            Page(
                items=[dead_letter_view(item, max_bytes=PREVIEW_BYTES) for item in page.items],
                next_cursor=page.next_cursor,
            )
        )

    @routes.get(
        "/dead-letters/groups",
        responses=responses(200, "DeadLetterGroups", 401, 403, 422, 429, 503),
    )
    def group_dead_letters(
        reader: Annotated[View, Depends(view)],
        source: DeadLetterSource = None,
        status: DeadLetterStatus = None,
        since: Annotated[Moment | None, Query(description="Last received at or after this time")] = None,
        until: Annotated[Moment | None, Query(description="First received before this time")] = None,
        replayed: Replayed = None,
        limit: Limit = 100,
    ) -> Response:
        """Count the dead letters by cloud, field and reason, the most frequent first."""
        where = DeadLetterFilter(source=source, status=status, since=since, until=until, replayed=replayed)
        return reply(reader.dead_letter_groups(where, limit=limit))

    @routes.get(
        "/dead-letters/{id}",
        responses=responses(200, "DeadLetterView", 401, 403, 404, 422, 429, 503),
    )
    def show_dead_letter(
        reader: Annotated[View, Depends(view)],
        id: Annotated[int, Path(ge=1, lt=2**63)],  # noqa: A002 - the name in the path
    ) -> Response:
        """Show one dead letter with its replays, and all of its body that is stored."""
        stored = reader.dead_letter(id)
        if stored is None:
            return problem(404, f"No dead letter has the id {id}.")
        if reader.visibility.is_limited:  # the audit log can't be narrowed
            return reply(dead_letter_view(stored))
        replays = audit.audit_log(subject=stored.subject, limit=MAX_REPLAYS)
        return reply(dead_letter_view(stored, replays=replays.items))

    return routes


def replay_router(
    ingest: Ingest, reader: DeadLetterReader, access: Access, *, sources: Sources, max_body_bytes: int
) -> APIRouter:
    """The route that replays a dead letter."""
    routes = APIRouter(prefix="/api/v1", tags=["dead letters"])
    may_replay = Depends(access.require("replay"))

    @routes.post(
        "/dead-letters/{id}/replay",
        name="replay_dead_letter",
        responses=responses(200, "Result | Results", 401, 403, 404, 408, 409, 413, 422, 429, 503),
        openapi_extra=request_body("Repair", required=False),
    )
    async def replay(
        request: Request,
        id: Id,  # noqa: A002 - the name in the path
        caller: Annotated[Caller, may_replay],
    ) -> Response:
        """Replay a rejected delivery, as it was received or with a repaired body. Repeating the request is safe.

        A body that is an array has one result for each element; either all of its elements are ingested or none. A
        dead letter that has become an event can't become a different one: 409.
        """
        repair = await read_json(request, _repair, max_body_bytes, empty=Repair())
        try:
            return await run_in_threadpool(_replay, id, repair, caller.name)
        except Rejected as fault:
            return rejection(fault.field, fault.reason, status=422)

    def _replay(number: int, repair: Repair, actor: str) -> Response:
        repaired = None if repair.body is None else repair.body.encode()
        stored = reader.dead_letter(number)
        if stored is None:
            return problem(404, f"No dead letter has the id {number}.")
        if stored.dead_letter.status == "contradictory":
            reason = "contradicts a stored event. A replay would contradict it again, because the first event is kept."
            return problem(409, f"Dead letter {number} {reason}")
        try:
            outcomes = replay_dead_letter(
                stored,
                repaired,
                ingest=ingest,
                actor=actor,
                now=datetime.now(UTC),
                sources=sources,
                accept=repair.accept,
            )
        except AlreadyReplayed as error:
            return problem(409, f"Dead letter {number} was replayed already: {error}")
        if len(outcomes) > 1:
            return reply(Results(results=[result_of(outcome) for outcome in outcomes]))
        (outcome,) = outcomes
        if outcome.status == "contradictory":
            return problem(409, f"{outcome.field} {outcome.reason}")
        return reply(result_of(outcome))

    return routes
