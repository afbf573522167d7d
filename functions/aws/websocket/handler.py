"""Lambda: the routes $connect, $disconnect and $default of the API Gateway WebSocket."""

from typing import Any

import msgspec

from functions.aws._common import powertools_logger
from helios import bootstrap
from helios.adapters.aws import ApiGatewayBroadcaster
from helios.adapters.redis.connections import RedisConnections
from helios.adapters.redis.tickets import RedisTickets
from helios.model.stream import Pong

logger = powertools_logger("helios-websocket")
configured = bootstrap.configure(require=("redis_url", "websocket_endpoint"))
services = bootstrap.build(configured)
connections = RedisConnections(configured.redis_url or "")
tickets = RedisTickets(configured.redis_url or "")
gateway = ApiGatewayBroadcaster(configured.websocket_endpoint or "", connections)


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: object) -> dict[str, int]:
    """Maintain the list of connections, and answer a ping with the position of the stream.

    API Gateway refuses the connection if ``$connect`` returns a status other than 2xx.

    Amazon API Gateway Developer Guide, "Working with WebSocket APIs".
    """
    route = event["requestContext"]["routeKey"]
    connection = event["requestContext"]["connectionId"]
    pong = None
    if route == "$connect" and not _may_connect(event):
        logger.warning("refused", extra={"connection": connection})
        return {"statusCode": 401}
    if route == "$disconnect":
        connections.remove(connection)
    else:
        connections.add(connection)  # also with each ping, which restores the list after a flush of Redis
    if route == "$default":
        pong = gateway.post(connection, msgspec.json.encode(Pong(position=services.outbox.window().position)))
    logger.info("route handled", extra={"route": route, "connection": connection, "pong": pong})
    return {"statusCode": 200}


def _may_connect(event: dict[str, Any]) -> bool:
    """Whether the request has an unused ticket of ``POST /api/v1/ws/tickets``, and does not come from another web page.

    A browser sends the page's origin. A client without an Origin header is not a browser, and needs only the ticket.
    The relay sends the same messages to all connections, so a client whose token has limits is refused: it reads
    ``/api/v1/frames``.
    """
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    if headers.get("origin", configured.dashboard_origin) != configured.dashboard_origin:
        return False
    ticket = (event.get("queryStringParameters") or {}).get("ticket")
    holder = tickets.redeem(ticket) if ticket is not None else None
    return holder is not None and not holder.visibility.is_limited
