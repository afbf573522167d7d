"""Lambda: $connect, $disconnect and $default of the API Gateway WebSocket."""

from typing import Any

import msgspec

from functions.aws._common import powertools_logger
from helios import bootstrap
from helios.adapters.aws import ApiGatewayBroadcaster
from helios.adapters.redis.connections import RedisConnections
from helios.adapters.redis.tickets import RedisTickets

logger = powertools_logger("helios-websocket")
configured = bootstrap.configure(require=("redis_url", "websocket_endpoint"))
services = bootstrap.build(configured)
connections = RedisConnections(configured.redis_url or "")
tickets = RedisTickets(configured.redis_url or "")
gateway = ApiGatewayBroadcaster(configured.websocket_endpoint or "", connections)


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: object) -> dict[str, int]:
    """Keep the list of connections, and answer a ping with the position of the stream.

    What ``$connect`` answers decides: with anything but 2xx there is no connection.

    Amazon API Gateway Developer Guide, "Working with WebSocket APIs".
    """
    route = event["requestContext"]["routeKey"]
    connection = event["requestContext"]["connectionId"]
    answered = None
    if route == "$connect" and not _may_watch(event):
        logger.warning("refused", extra={"connection": connection})
        return {"statusCode": 401}
    if route == "$disconnect":
        connections.remove(connection)
    else:
        connections.add(connection)  # also with each ping, so that a flushed Redis heals
    if route == "$default":
        pong = {"type": "pong", "position": services.outbox.window().position}
        answered = gateway.post(connection, msgspec.json.encode(pong))
    logger.info("watched", extra={"route": route, "connection": connection, "answered": answered})
    return {"statusCode": 200}


def _may_watch(event: dict[str, Any]) -> bool:
    """Whether it brought a ticket of ``POST /api/v1/ws/tickets`` that nobody has used yet, and is no other web page's.

    A browser says which page asks; who sends no Origin is none, and has a ticket all the same.
    """
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    if headers.get("origin", configured.dashboard_origin) != configured.dashboard_origin:
        return False
    ticket = (event.get("queryStringParameters") or {}).get("ticket")
    return ticket is not None and tickets.redeem(ticket) is not None
