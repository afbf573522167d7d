"""Lambda: relays what is new, when SQS rings and once a minute in case a ring was lost."""

from typing import Any, Final

from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.aws._common import powertools_logger
from helios import bootstrap
from helios.adapters.aws import BROADCAST_SECONDS, ApiGatewayBroadcaster
from helios.adapters.redis.connections import RedisConnections
from helios.services.relay import GATEWAY, relay

RESERVE_SECONDS: Final = BROADCAST_SECONDS + 1
"""What the last message and its note may take: Lambda ends a call that runs out of time, and with it what it noted."""

logger = powertools_logger("helios-relay")
configured = bootstrap.configure(require=("redis_url", "websocket_endpoint"))
services = bootstrap.build(configured)
broadcaster = ApiGatewayBroadcaster(configured.websocket_endpoint or "", RedisConnections(configured.redis_url or ""))


@logger.inject_lambda_context
def handler(_event: dict[str, Any], context: LambdaContext) -> None:
    """Relay what there is time for, and ring for the rest; an error makes SQS ring again, as the schedule does."""
    seconds = context.get_remaining_time_in_millis() / 1000 - RESERVE_SECONDS
    sent = relay(GATEWAY, outbox=services.outbox, broadcaster=broadcaster, seconds=seconds, notifier=services.notifier)
    logger.info("relayed", extra={"frames": sent})
