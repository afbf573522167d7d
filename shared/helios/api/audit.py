"""The audit log."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from helios.api.parameters import After, Limit, Text
from helios.api.replies import documented, reply
from helios.model.audit import Action
from helios.ports.audit import AuditReader


def router(reader: AuditReader) -> APIRouter:
    """The route that reads the audit log."""
    routes = APIRouter(prefix="/api/v1", tags=["audit"])

    @routes.get("/audit", responses=documented(200, "AuditPage", 400, 401, 403, 422, 429, 503))
    def audit(
        action: Annotated[Action | None, Query(description="Only lines of this action")] = None,
        subject: Annotated[
            Text | None, Query(description="Only lines of this: `replay job 3`, `dead letter 17`")
        ] = None,
        after: After = None,
        limit: Limit = 50,
    ) -> Response:
        """List who did what, the last first."""
        return reply(reader.audit_log(action=action, subject=subject, after=after, limit=limit))

    return routes
