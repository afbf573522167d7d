"""The audit log."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from helios.api.parameters import After, Limit, Text
from helios.api.replies import reply, responses
from helios.model.audit import Action
from helios.ports.audit import AuditReader


def router(reader: AuditReader) -> APIRouter:
    """The route that reads the audit log."""
    routes = APIRouter(prefix="/api/v1", tags=["audit"])

    @routes.get("/audit", responses=responses(200, "AuditPage", 400, 401, 403, 422, 429, 503))
    def list_audit_entries(
        action: Annotated[Action | None, Query(description="Only entries with this action")] = None,
        subject: Annotated[
            Text | None, Query(description="Only entries about this subject: `replay job 3`, `dead letter 17`")
        ] = None,
        after: After = None,
        limit: Limit = 50,
    ) -> Response:
        """List the entries of the audit log, the newest first."""
        return reply(reader.audit_log(action=action, subject=subject, after=after, limit=limit))

    return routes
