"""The built-in and the declared sources."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from helios.api.access import ViewDependency
from helios.api.replies import reply, responses
from helios.services.views import View
from helios.sources.registry import Sources


def router(view: ViewDependency, sources: Sources) -> APIRouter:
    """The route that lists the sources."""
    routes = APIRouter(prefix="/api/v1", tags=["sources"])

    @routes.get("/sources", responses=responses(200, "Sources", 401, 403, 429, 503))
    def list_sources(reader: Annotated[View, Depends(view)]) -> Response:
        """List the sources with the label, the colour and the shape of each, in the order in which they are shown."""
        return reply([info for info in sources.infos if reader.sees_source(info.name)])

    return routes
