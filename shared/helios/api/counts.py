"""Counts of deliveries by minute."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from helios.api.access import ViewDependency
from helios.api.parameters import Moment
from helios.api.replies import reply, responses
from helios.model.counts import LAST_DAY
from helios.services.views import View
from helios.shapes import Counts


def router(view: ViewDependency) -> APIRouter:
    """The route that reads the counts."""
    routes = APIRouter(prefix="/api/v1", tags=["events"])

    @routes.get("/counts", responses=responses(200, "Counts", 401, 403, 422, 429, 503))
    def count_deliveries(
        reader: Annotated[View, Depends(view)],
        since: Annotated[
            Moment | None,
            Query(description="Start of the period: at most a day ago; by default an hour ago"),
        ] = None,
    ) -> Response:
        """Count the deliveries by minute and cloud; minutes without deliveries are left out."""
        now = datetime.now(UTC)
        first = max(since or now - timedelta(hours=1), now - LAST_DAY).replace(second=0, microsecond=0)
        return reply(Counts(since=first, until=now, minutes=reader.minutes(first)))

    return routes
