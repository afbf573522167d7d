"""Lambda: $connect, $disconnect and $default of the API Gateway WebSocket."""

from typing import Any

import msgspec
from aws_lambda_powertools import Logger

from helios import bootstrap
from helios.adapters.aws import ApiGatewayBroadcaster
from helios.adapters.redis_connections import RedisConnections

logger = Logger(service="helios-websocket")
configured = bootstrap.configure(require=("redis_url", "websocket_endpoint"))
services = bootstrap.build(configured)
connections = RedisConnections(configured.redis_url or "")
gateway = ApiGatewayBroadcaster(configured.websocket_endpoint or "", connections)


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: object) -> dict[str, int]:
    """Keep the list of connections, and answer a ping with the position of the stream.

    Amazon API Gateway Developer Guide, "Working with WebSocket APIs".
    """
    route = event["requestContext"]["routeKey"]
    connection = event["requestContext"]["connectionId"]
    if route == "$disconnect":
        connections.remove(connection)
    else:
        connections.add(connection)  # also with each ping, so that a flushed Redis heals
    if route == "$default":
        pong = {"type": "pong", "position": services.outbox.window().position}
        gateway.post(connection, msgspec.json.encode(pong))
    logger.info("watched", extra={"route": route, "connection": connection})
    return {"statusCode": 200}
