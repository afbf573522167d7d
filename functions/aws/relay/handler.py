"""Lambda: relays new frames, on each notification from SQS and once a minute in case a notification was lost."""

from typing import Any, Final

from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.aws._common import powertools_logger
from helios import bootstrap
from helios.adapters.aws import BROADCAST_SECONDS, ApiGatewayBroadcaster
from helios.adapters.redis.connections import RedisConnections
from helios.services.relay import GATEWAY, relay

RESERVE_SECONDS: Final = BROADCAST_SECONDS + 1
"""Time for the last broadcast and for committing the offset, which is lost if Lambda ends the call at its timeout."""

logger = powertools_logger("helios-relay")
configured = bootstrap.configure(require=("redis_url", "websocket_endpoint"))
services = bootstrap.build(configured)
broadcaster = ApiGatewayBroadcaster(configured.websocket_endpoint or "", RedisConnections(configured.redis_url or ""))


@logger.inject_lambda_context
def handler(_event: dict[str, Any], context: LambdaContext) -> None:
    """Relay frames while there is time, and notify for the rest. After an error, SQS and the schedule call it again."""
    seconds = context.get_remaining_time_in_millis() / 1000 - RESERVE_SECONDS
    sent = relay(GATEWAY, outbox=services.outbox, broadcaster=broadcaster, seconds=seconds, notifier=services.notifier)
    logger.info("relayed", extra={"frames": sent})
