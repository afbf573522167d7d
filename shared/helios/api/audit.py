"""The audit log."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Query, Response

from helios.api.access import Caller, Dependency
from helios.api.parameters import After, Limit, Text
from helios.api.replies import reply, responses
from helios.model.audit import Action
from helios.model.replay import entry_without_secrets
from helios.model.tokens import grants
from helios.ports.audit import AuditReader


def router(reader: AuditReader, may_read: Dependency) -> APIRouter:
    """The route that reads the audit log; a caller without the scope replay sees of a webhook's URL only the host."""
    routes = APIRouter(prefix="/api/v1", tags=["audit"])

    @routes.get("/audit", responses=responses(200, "AuditPage", 400, 401, 403, 422, 429, 503))
    def list_audit_entries(
        caller: Annotated[Caller, Depends(may_read)],
        action: Annotated[Action | None, Query(description="Only entries with this action")] = None,
        subject: Annotated[
            Text | None, Query(description="Only entries about this subject: `replay job 3`, `dead letter 17`")
        ] = None,
        after: After = None,
        limit: Limit = 50,
    ) -> Response:
        """List the entries of the audit log, the newest first."""
        page = reader.audit_log(action=action, subject=subject, after=after, limit=limit)
        if not grants(caller.scopes, "replay"):
            page = msgspec.structs.replace(page, items=[entry_without_secrets(entry) for entry in page.items])
        return reply(page)

    return routes
