"""Lambda: works on replay jobs, on an EventBridge schedule of once a minute, for as long as there is time."""

import threading
from typing import Any, Final

from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.aws._common import powertools_logger
from helios import bootstrap
from helios.adapters.replay.webhook import SECONDS, WebhookTarget

RESERVE_SECONDS: Final = WebhookTarget.batch * SECONDS + 20
"""What the slowest batch may take: a call that runs out of time is ended within it, and it would be sent again."""

logger = powertools_logger("helios-replays")
services = bootstrap.build(bootstrap.configure())


@logger.inject_lambda_context
def handler(_event: dict[str, Any], context: LambdaContext) -> dict[str, bool]:
    """Work on the jobs there are; the next call goes on from the checkpoint, also after an error."""
    worker = bootstrap.replay_worker(services)
    seconds = context.get_remaining_time_in_millis() / 1000 - RESERVE_SECONDS
    stop = threading.Timer(max(0.0, seconds), worker.stop)
    stop.start()
    try:
        return {"had_its_turn": worker.run()}
    finally:
        stop.cancel()
