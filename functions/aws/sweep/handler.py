"""Lambda: the sweep, once a minute on an EventBridge schedule."""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from functions.aws._common import powertools_logger, powertools_metrics, with_archive
from helios import bootstrap

ARCHIVE_SECONDS = 14.0
"""For one read of the archive, which a recompute of a flow's stored instances may begin after 25 s of a call of 60."""

logger = powertools_logger("helios-sweep")
metrics = powertools_metrics("sweep")
services = with_archive(bootstrap.build(bootstrap.configure()), seconds=ARCHIVE_SECONDS)
recoveries = bootstrap.recovery_job(services)


@logger.inject_lambda_context
@metrics.log_metrics
def handler(_event: dict[str, Any], _context: object) -> dict[str, int]:
    """Sweep. Lambda reports an error, and the next minute's call repeats the sweep."""
    now = datetime.now(UTC)
    swept = bootstrap.sweep_alone(services, now, recoveries=recoveries)
    attention = services.incidents.attention(now)
    metrics.add_metric("serious_incidents", MetricUnit.Count, attention.serious)
    metrics.add_metric("failing_notifications", MetricUnit.Count, sum(attention.failing.values()))
    metrics.add_metric("partitions_ahead", MetricUnit.Count, services.reader.partitions_ahead())
    if services.settings.archive_url:
        silent_seconds = (now - services.reader.archive_succeeded_at()).total_seconds()
        metrics.add_metric("archive_silent_seconds", MetricUnit.Seconds, silent_seconds)
    return {"frames_removed": swept.frames, "flows_evaluated": swept.flows}
