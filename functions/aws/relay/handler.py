"""Lambda: relays what is new, when SQS rings and once a minute in case a ring was lost."""

from typing import Any

from aws_lambda_powertools import Logger

from helios import bootstrap
from helios.adapters.aws import ApiGatewayBroadcaster
from helios.adapters.redis_connections import RedisConnections
from helios.flows.relay import relay

logger = Logger(service="helios-relay")
configured = bootstrap.configure(require=("redis_url", "websocket_endpoint"))
services = bootstrap.build(configured)
broadcaster = ApiGatewayBroadcaster(configured.websocket_endpoint or "", RedisConnections(configured.redis_url or ""))


@logger.inject_lambda_context
def handler(_event: dict[str, Any], _context: object) -> None:
    """Relay; an error makes SQS ring again, and the schedule does in any case."""
    sent = relay("api-gateway", outbox=services.outbox, broadcaster=broadcaster)
    logger.info("relayed", extra={"frames": sent})
