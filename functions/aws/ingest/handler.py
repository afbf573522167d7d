"""Lambda: ingests batches of EventBridge events from SQS."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit

from functions.aws._common import powertools_logger
from helios import bootstrap
from helios.errors import Retryable
from helios.model.events import Delivery

logger = powertools_logger("helios-ingest")
metrics = Metrics(namespace="Helios", service="ingest")
services = bootstrap.build_long_lived(bootstrap.configure())


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], _context: object) -> dict[str, list[dict[str, str]]]:
    """Store an SQS batch, and return the messages that SQS must deliver again.

    An unreadable message is stored as a dead letter and acknowledged, because another delivery would not help. When the
    database is not available, every message is returned to the queue. After half a day, SQS moves a message to its
    dead-letter queue.

    AWS Lambda Developer Guide, "Implementing partial batch responses" (``ReportBatchItemFailures``).
    """
    received_at = datetime.now(UTC)
    records = event["Records"]
    deliveries = [
        Delivery(channel="eventbridge", body=record["body"].encode(), received_at=received_at) for record in records
    ]
    try:
        outcomes = services.ingest(deliveries)
    except Retryable as error:
        logger.warning("batch returned to the queue", extra={"events": len(records), "error": str(error)})
        metrics.add_metric("retryable", MetricUnit.Count, len(records))
        return {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in records]}
    for status, count in Counter(outcome.status for outcome in outcomes).items():
        metrics.add_metric(status, MetricUnit.Count, count)
    return {"batchItemFailures": []}
