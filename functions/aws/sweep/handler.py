"""Lambda: the sweep, on an EventBridge schedule of once a minute."""

import logging
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.utils import copy_config_to_registered_loggers

from helios import bootstrap
from helios.services.sweep import sweep

logger = Logger(service="helios-sweep")
logging.getLogger("helios")  # registered, so that the core's lines take Powertools' form
copy_config_to_registered_loggers(logger, include={"helios"})
services = bootstrap.build(bootstrap.configure())


@logger.inject_lambda_context
def handler(_event: dict[str, Any], _context: object) -> dict[str, int]:
    """Sweep; an error is Lambda's to report and the next minute's to make good."""
    swept = sweep(datetime.now(UTC), store=services.store, reconciler=services.reconciler, notifier=services.notifier)
    return {"frames_removed": swept.frames, "flows_judged": swept.flows}
