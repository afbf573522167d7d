"""Lambda: works on replay jobs, once a minute on an EventBridge schedule, until shortly before its timeout."""

import os
import threading
from typing import Any, Final

from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.aws._common import REQUEST_SECONDS, powertools_logger, with_archive
from helios import bootstrap
from helios.adapters.guarded_http import SECONDS
from helios.adapters.replay.webhook import WebhookTarget
from helios.processes import interrupts

ARCHIVE_SECONDS: Final = 60.0
"""For one read of the archive, of which a batch may need several when its filter leaves out most events."""

RESERVE_SECONDS: Final = WebhookTarget.batch * SECONDS + ARCHIVE_SECONDS + 2 * REQUEST_SECONDS + 20
"""Time for the slowest batch, and for the read before it. If Lambda killed the call within a batch, the next call would
send that batch again."""

logger = powertools_logger("helios-replay")
services = with_archive(bootstrap.build(bootstrap.configure(), is_frozen_between_calls=True), seconds=ARCHIVE_SECONDS)
if "AWS_LAMBDA_RUNTIME_API" in os.environ:  # set by Lambda, which sends SIGTERM to a function with an extension
    interrupts.close_on_sigterm(services.close)


@logger.inject_lambda_context
def handler(_event: dict[str, Any], context: LambdaContext) -> dict[str, bool]:
    """Work on the running jobs. The next call continues from the checkpoint, also after an error."""
    worker = bootstrap.replay_worker(services)
    seconds = context.get_remaining_time_in_millis() / 1000 - RESERVE_SECONDS
    stop = threading.Timer(max(0.0, seconds), worker.stop)
    stop.start()
    try:
        return {"lock_acquired": worker.run()}
    finally:
        stop.cancel()
