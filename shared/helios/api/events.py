"""Stored events."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from helios.api.parameters import After, Limit, Moment, Text
from helios.api.replies import problem, reply, responses
from helios.model.events import MAX_ID_CHARS, MAX_NAME_CHARS, EventFilter, Source
from helios.ports.events import EventReader


def router(reader: EventReader) -> APIRouter:
    """The routes that read events, as plain functions, which FastAPI runs in threads."""
    routes = APIRouter(prefix="/api/v1", tags=["events"])

    @routes.get("/events", responses=responses(200, "EventPage", 400, 401, 403, 422, 429, 503))
    def list_events(
        source: Annotated[Source | None, Query(description="Only events of this cloud")] = None,
        type: Annotated[Text | None, Query(max_length=MAX_NAME_CHARS)] = None,  # noqa: A002 - CloudEvents' word
        order_id: Annotated[Text | None, Query(max_length=MAX_ID_CHARS)] = None,
        since: Annotated[Moment | None, Query(description="received_at at or after this time")] = None,
        until: Annotated[Moment | None, Query(description="received_at before this time")] = None,
        after: After = None,
        limit: Limit = 50,
    ) -> Response:
        """List events, the last received first."""
        where = EventFilter(source=source, type=type, order_id=order_id, since=since, until=until)
        return reply(reader.events(where, after=after, limit=limit))

    @routes.get("/events/{source}/{id:text}", responses=responses(200, "Event", 401, 403, 404, 422, 429, 503))
    def show_event(
        source: Source,
        id: Annotated[Text, Path(max_length=MAX_ID_CHARS)],  # noqa: A002 - CloudEvents' word
    ) -> Response:
        """Show one event, with its payload as it was sent."""
        row = reader.event((source, id))
        return reply(row) if row else problem(404, f"No event of {source} has the id {id!r}.")

    return routes
