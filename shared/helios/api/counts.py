"""Counts of deliveries by minute."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Response

from helios.api.parameters import Moment
from helios.api.replies import reply, responses
from helios.api.shapes import Counts
from helios.model.counts import LAST_DAY
from helios.ports.counts import MinuteReader


def router(reader: MinuteReader) -> APIRouter:
    """The route that reads the counts."""
    routes = APIRouter(prefix="/api/v1", tags=["events"])

    @routes.get("/counts", responses=responses(200, "Counts", 401, 403, 422, 429, 503))
    def count_deliveries(
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
