"""Measures each batch as one span, with the contexts in which its events were sent."""

import time
from collections import Counter
from collections.abc import Callable, Sequence

from helios.errors import Retryable
from helios.model.events import Delivery, Outcome
from helios.ports.tracing import BatchSpan, Tracer


def traced(store: Callable[[], list[Outcome]], deliveries: Sequence[Delivery], tracer: Tracer) -> list[Outcome]:
    """Store a batch of these deliveries, and record the attempt, whatever comes of it."""
    started = time.time_ns()
    try:
        outcomes = store()
    except Exception as error:
        # The message of another error may quote an event.
        reason = str(error) if isinstance(error, Retryable) else type(error).__name__
        span = BatchSpan(started_ns=started, ended_ns=time.time_ns(), deliveries=len(deliveries), error=reason)
        tracer.record(span)
        raise
    attributes = [event.attributes for outcome in outcomes if (event := outcome.event) and event.attributes]
    attributes += [{"traceparent": delivery.traceparent} for delivery in deliveries if delivery.traceparent]
    tracer.record(
        BatchSpan(
            started_ns=started,
            ended_ns=time.time_ns(),
            deliveries=len(deliveries),
            outcomes=Counter([outcome.status for outcome in outcomes]),
            attributes=attributes,
        )
    )
    return outcomes
