"""What was stored: events, and the deliveries that did not become events."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import AfterValidator

from helios.api.replies import documented, problem, reply
from helios.api.shapes import MAX_REPLAYS, PREVIEW_BYTES, Counts, dead_letter_view
from helios.model.counts import LAST_DAY
from helios.model.dead_letters import DeadLetterFilter
from helios.model.events import MAX_ID_CHARS, MAX_NAME_CHARS, EventFilter, Source, SourceOrUnknown
from helios.model.paging import Page
from helios.ports.events import EventReader

MAX_PAGE = 500


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds a NUL character")
    return text


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("has no offset: write 2025-11-26T12:00:00Z")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is outside the calendar") from error


Text = Annotated[str, AfterValidator(_storable)]
Moment = Annotated[datetime, AfterValidator(_utc)]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Most items on this page")]
After = Annotated[str | None, Query(description="next_cursor of the page before", max_length=8192)]

DeadLetterSource = Annotated[SourceOrUnknown | None, Query(description="The cloud")]
DeadLetterStatus = Annotated[Literal["rejected", "contradictory"] | None, Query()]
Replayed = Annotated[bool | None, Query(description="Whether it was taken in again with success")]


def router(reader: EventReader) -> APIRouter:
    """Pages over the store; plain functions, which FastAPI runs in threads."""
    routes = APIRouter(prefix="/api/v1", tags=["events"])

    @routes.get("/events", responses=documented(200, "EventPage", 400, 401, 403, 422, 429, 503))
    def events(
        source: Annotated[Source | None, Query(description="The cloud")] = None,
        type: Annotated[Text | None, Query(max_length=MAX_NAME_CHARS)] = None,  # noqa: A002 - CloudEvents' word
        order_id: Annotated[Text | None, Query(max_length=MAX_ID_CHARS)] = None,
        since: Annotated[Moment | None, Query(description="received_at at or after this")] = None,
        until: Annotated[Moment | None, Query(description="received_at before this")] = None,
        after: After = None,
        limit: Limit = 50,
    ) -> Response:
        """List events, the last received first."""
        where = EventFilter(source=source, type=type, order_id=order_id, since=since, until=until)
        return reply(reader.events(where, after=after, limit=limit))

    @routes.get("/counts", responses=documented(200, "Counts", 401, 403, 422, 429, 503))
    def counts(
        since: Annotated[
            Moment | None, Query(description="From the minute of this on, a day ago at most; without it, for an hour")
        ] = None,
    ) -> Response:
        """Count what arrived, by minute and cloud; minutes without anything are left out."""
        now = datetime.now(UTC)
        first = max(since or now - timedelta(hours=1), now - LAST_DAY).replace(second=0, microsecond=0)
        return reply(Counts(since=first, until=now, minutes=reader.minutes(first)))

    @routes.get("/events/{source}/{id:path}", responses=documented(200, "Event", 401, 403, 404, 422, 429, 503))
    def event(
        source: Source,
        id: Annotated[Text, Path(max_length=MAX_ID_CHARS)],  # noqa: A002 - CloudEvents' word
    ) -> Response:
        """Show one event, its payload as it was sent."""
        found = reader.event((source, id))
        return reply(found) if found else problem(404, f"No event of {source} has the id {id!r}")

    @routes.get("/dead-letters", responses=documented(200, "DeadLetterPage", 400, 401, 403, 422, 429, 503))
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

    @routes.get("/dead-letters/groups", responses=documented(200, "DeadLetterGroups", 401, 403, 422, 429, 503))
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

    @routes.get("/dead-letters/{id}", responses=documented(200, "DeadLetterView", 401, 403, 404, 422, 429, 503))
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
