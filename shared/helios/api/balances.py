"""Balances: what producers say they have published, and what arrived of it."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from helios.api.access import ViewDependency
from helios.api.parameters import After, Limit, Moment, Text
from helios.api.replies import reply, responses
from helios.model.balances import BalanceFilter, BalanceState
from helios.model.sources import SOURCE_PATTERN, Source
from helios.services.views import View


def router(view: ViewDependency) -> APIRouter:
    """The route that reads balances."""
    routes = APIRouter(prefix="/api/v1", tags=["balances"])

    @routes.get("/balances", responses=responses(200, "BalancePage", 400, 401, 403, 422, 429, 503))
    def list_balances(
        reader: Annotated[View, Depends(view)],
        state: Annotated[list[BalanceState] | None, Query(description="Only balances in one of these states")] = None,
        source: Annotated[
            Source | None, Query(description="Only events of this source", pattern=SOURCE_PATTERN)
        ] = None,
        type: Annotated[Text | None, Query(description="Only events of this type")] = None,  # noqa: A002 - CloudEvents' word
        since: Annotated[Moment | None, Query(description="Only minutes from this time on")] = None,
        until: Annotated[Moment | None, Query(description="Only minutes before this time")] = None,
        after: After = None,
        limit: Limit = 50,
    ) -> Response:
        """List what was published by minute, source and type, and what arrived of it, the newest minute first."""
        where = BalanceFilter(state=tuple(state or ()), source=source, type=type, since=since, until=until)
        return reply(reader.balances(where, after=after, limit=limit))

    return routes
