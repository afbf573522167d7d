"""Lambda: relays new frames, on each notification from SQS and once a minute in case a notification was lost.

It also updates the incidents, and notifies of those that are new, so that this is done seconds after their cause and
not with the next sweep.
"""

from datetime import UTC, datetime
from typing import Any, Final

from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.aws._common import powertools_logger
from helios import bootstrap
from helios.adapters.aws import BROADCAST_SECONDS, ApiGatewayBroadcaster
from helios.adapters.redis.connections import RedisConnections
from helios.services.notifications import ATTEMPT_SECONDS
from helios.services.relay import GATEWAY, LINGER_SECONDS, relay
from helios.services.sweep import NOTIFY_SECONDS

logger = powertools_logger("helios-relay")
configured = bootstrap.configure(require=("redis_url", "websocket_endpoint"))
RESERVE_SECONDS: Final = BROADCAST_SECONDS + configured.database_timeout_seconds + 1
"""Time for the last message, for the statement that commits the offset, and for the notification of the next call. It
is also more than one statement takes that began before this time. The offset is lost if Lambda ends the call."""
services = bootstrap.build(configured)
incidents = bootstrap.incident_job(services)
broadcaster = ApiGatewayBroadcaster(configured.websocket_endpoint or "", RedisConnections(configured.redis_url or ""))


@logger.inject_lambda_context
def handler(_event: dict[str, Any], context: LambdaContext) -> None:
    """Relay frames while there is time, and notify for the rest. After an error, SQS and the schedule call it again."""
    seconds = context.get_remaining_time_in_millis() / 1000 - RESERVE_SECONDS
    sent = relay(
        GATEWAY,
        outbox=services.outbox,
        broadcaster=broadcaster,
        sample_above=configured.sample_above_watchers,
        seconds=seconds,
        linger_seconds=LINGER_SECONDS,
        notifier=services.notifier,
    )
    logger.info("relayed", extra={"frames": sent})
    if incidents:
        incidents.run(datetime.now(UTC))
    has_time = context.get_remaining_time_in_millis() / 1000 > NOTIFY_SECONDS + ATTEMPT_SECONDS
    if services.notifications and has_time:  # otherwise the sweep does it
        # Also of the transitions that the sweep of another cloud has made, which then has notified the relay.
        services.notifications.run(datetime.now(UTC), seconds=NOTIFY_SECONDS)
