"""Stored events."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from helios.api.access import ViewDependency
from helios.api.parameters import After, Limit, Moment, Text
from helios.api.replies import problem, reply, responses
from helios.errors import Rejected
from helios.model.events import MAX_ID_CHARS, MAX_NAME_CHARS, MAX_TEXT_CHARS, EventFilter
from helios.model.sources import SOURCE_PATTERN, Source
from helios.services.views import View
from helios.sources.registry import Sources

MAX_FILTERS = 10
"""Maximum number of attributes in a filter."""


def router(view: ViewDependency, sources: Sources) -> APIRouter:
    """The routes that read events, as plain functions, which FastAPI runs in threads."""
    routes = APIRouter(prefix="/api/v1", tags=["events"])

    @routes.get("/events", responses=responses(200, "EventPage", 400, 401, 403, 422, 429, 503))
    def list_events(
        reader: Annotated[View, Depends(view)],
        source: Annotated[
            Source | None, Query(description="Only events of this source", pattern=SOURCE_PATTERN)
        ] = None,
        type: Annotated[Text | None, Query(max_length=MAX_NAME_CHARS)] = None,  # noqa: A002 - CloudEvents' word
        order_id: Annotated[Text | None, Query(max_length=MAX_ID_CHARS)] = None,
        attribute: Annotated[
            list[Text] | None,
            Query(description="Only events with this attribute, as name:value; all of several", max_length=MAX_FILTERS),
        ] = None,
        since: Annotated[Moment | None, Query(description="received_at at or after this time")] = None,
        until: Annotated[Moment | None, Query(description="received_at before this time")] = None,
        after: After = None,
        limit: Limit = 50,
    ) -> Response:
        """List events, the last received first."""
        where = EventFilter(
            source=source,
            type=type,
            order_id=order_id,
            attributes=_attributes(attribute) if attribute else None,
            since=since,
            until=until,
        )
        return reply(reader.events(where, after=after, limit=limit))

    @routes.get("/events/{source}/{id:text}", responses=responses(200, "Event", 401, 403, 404, 422, 429, 503))
    def show_event(
        reader: Annotated[View, Depends(view)],
        source: Annotated[Source, Path(pattern=SOURCE_PATTERN)],
        id: Annotated[Text, Path(max_length=MAX_ID_CHARS)],  # noqa: A002 - CloudEvents' word
        producer: Annotated[Text, Query(max_length=MAX_TEXT_CHARS, description="The producer of the event")] = "",
    ) -> Response:
        """Show one event, with its payload as it was sent."""
        if row := reader.event((source, producer, id)):
            return reply(row)
        if source not in sources:
            names = ", ".join(name for name in sources if reader.sees_source(name))
            return problem(404, f"No source {source!r} is declared. The sources are {names}.")
        hint = "" if producer else " Add its producer: ?producer=..."
        return problem(404, f"No event of {source} and {producer!r} has the id {id!r}.{hint}")

    return routes


def _attributes(filters: Sequence[str]) -> dict[str, str]:
    """The attributes in filters of the form ``name:value``; the name ends at the first colon.

    Raises:
        Rejected: a filter has no colon.
    """
    attributes = {}
    for text in filters:
        name, colon, value = text.partition(":")
        if not name or not colon:
            raise Rejected("has no name and colon: write name:value", field="attribute", status=422)
        attributes[name] = value
    return attributes
