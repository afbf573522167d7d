"""Lambda: ingests batches of EventBridge events from SQS, or events that AWS passes to it directly."""

import json
import os
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from functions.aws._common import powertools_logger, powertools_metrics
from helios import bootstrap
from helios.errors import Retryable
from helios.model.events import Delivery
from helios.normalise import split
from helios.normalise.beside import MESSAGE_HEADER
from helios.processes import interrupts

SYSTEM_ATTRIBUTES = ("AWSTraceHeader", "MessageGroupId")
"""The attributes of Amazon SQS that belong to the message; the others change with each receipt of it."""

logger = powertools_logger("helios-ingest")
metrics = powertools_metrics("ingest")
edge = bootstrap.build_edge(bootstrap.configure(), is_frozen_between_calls=True)
if "AWS_LAMBDA_RUNTIME_API" in os.environ:  # set by Lambda, which sends SIGTERM to a function with an extension
    interrupts.close_on_sigterm(edge.close)


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: Any, _context: object) -> dict[str, list[dict[str, str]]]:
    """Store an SQS batch, and return the messages that SQS must deliver again.

    An unreadable message is stored as a dead letter and acknowledged, because another delivery would not help. When the
    database, or the log, is not available, every message is returned to the queue. After half a day, SQS moves a
    message to its dead-letter queue. What a rule of EventBridge, SNS or a pipe passes on without a queue is stored in
    the same way.

    AWS Lambda Developer Guide, "Implementing partial batch responses" (``ReportBatchItemFailures``).

    Raises:
        Retryable: the database is not available, and there is no queue to return the events to.
    """
    received_at = datetime.now(UTC)
    records = _records(event)
    deliveries = [delivery for record in records for delivery in _deliveries(record, received_at)]
    try:
        outcomes = edge.ingest(deliveries)
    except Retryable as error:
        logger.warning("batch returned to the queue", extra={"events": len(deliveries), "error": str(error)})
        metrics.add_metric("retryable", MetricUnit.Count, len(deliveries))
        if not all(_is_message(record) for record in records):
            raise
        return {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in records]}
    for status, count in Counter(outcome.status for outcome in outcomes).items():
        metrics.add_metric(status, MetricUnit.Count, count)
    return {"batchItemFailures": []}


def _records(event: Any) -> list[Any]:
    """The records of SQS or SNS; what a pipe passes on, which is an array; or the only event."""
    if isinstance(event, Mapping) and isinstance(event.get("Records"), list):
        return list(event["Records"])
    return list(event) if isinstance(event, list) else [event]


def _is_message(record: Any) -> bool:
    """Whether a record is a message of SQS."""
    return isinstance(record, Mapping) and isinstance(record.get("body"), str) and "messageId" in record


def _deliveries(record: Any, received_at: datetime) -> list[Delivery]:
    """The deliveries in a record: more than one if the body of a message is an array of events."""
    if _is_message(record):
        return split("eventbridge", record["body"].encode(errors="surrogatepass"), _attributes(record), received_at)
    notification = record.get("Sns") if isinstance(record, Mapping) else None
    # Not msgspec, which raises for an integer of more than 64 bits.
    body = json.dumps(notification or record, ensure_ascii=False).encode(errors="surrogatepass")
    return [Delivery(channel="eventbridge", body=body, received_at=received_at)]


def _attributes(record: Mapping[str, Any]) -> dict[str, str]:
    """What a message says beside its body, as headers of its delivery."""
    system = record.get("attributes") or {}
    attributes = {name: system[name] for name in SYSTEM_ATTRIBUTES if name in system}
    own = record.get("messageAttributes") or {}
    attributes |= {name: value["stringValue"] for name, value in own.items() if value.get("stringValue")}
    return {MESSAGE_HEADER + name: value for name, value in attributes.items()}
