"""Lambda: the sweep, once a minute on an EventBridge schedule."""

from datetime import UTC, datetime
from typing import Any

from functions.aws._common import powertools_logger
from helios import bootstrap
from helios.services.sweep import sweep

logger = powertools_logger("helios-sweep")
services = bootstrap.build(bootstrap.configure())


@logger.inject_lambda_context
def handler(_event: dict[str, Any], _context: object) -> dict[str, int]:
    """Sweep. Lambda reports an error, and the next minute's call repeats the sweep."""
    swept = sweep(datetime.now(UTC), store=services.store, reconciler=services.reconciler, notifier=services.notifier)
    return {"frames_removed": swept.frames, "flows_evaluated": swept.flows}
