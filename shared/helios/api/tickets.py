"""What a browser shows in place of a token, where it can send no header: a WebSocket's ticket."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from starlette.concurrency import run_in_threadpool

from helios.api.access import Access, Caller
from helios.api.replies import documented, problem, reply
from helios.api.shapes import Ticket
from helios.model.tokens import TICKET_SECONDS
from helios.ports.access import Tickets


def router(tickets: Tickets | None, access: Access) -> APIRouter:
    """The route that issues tickets."""
    routes = APIRouter(prefix="/api/v1", tags=["live"])

    @routes.post("/ws/tickets", status_code=201, responses=documented(201, "Ticket", 401, 403, 429, 503))
    async def issue(caller: Annotated[Caller, Depends(access.needs("read"))]) -> Response:
        """Issue a ticket that opens one WebSocket, once and soon: ``?ticket=``, where a token would end up in logs."""
        if tickets is None:
            return problem(503, "Tickets are kept in Redis, and HELIOS_REDIS_URL is not set")
        ticket = await run_in_threadpool(tickets.issue, caller.name)
        return reply(Ticket(ticket=ticket, expires_in=TICKET_SECONDS), status=201)

    return routes
