"""Function app: ingests Event Grid events, from a queue or from Event Grid itself, and runs the sweep on a timer."""

import asyncio
import logging
from datetime import UTC, datetime
from functools import cache
from typing import Any

import azure.functions as func

from helios import bootstrap, logs, settings
from helios.bootstrap import Edge, Services
from helios.model.events import Delivery
from helios.services.batching import Coalescer

configured = settings.load()
logging.getLogger("helios").setLevel(configured.log_level)
for handler in logging.getLogger().handlers:  # of the worker, which would drop the fields in ``extra``
    handler.setFormatter(logs.JsonFormatter())


class EventAsSent(func.EventGridEvent):
    """An event of any schema, as the JSON text that the host passed on."""

    def __init__(self, text: str) -> None:
        """Take the text."""
        self.text = text


def _as_sent(data: Any, *, trigger_metadata: object) -> EventAsSent:  # noqa: ARG001 - the host passes it by this name
    """Take the place of azure-functions' conversion, which keeps only the fields of the two schemas that it knows.

    A dead letter would lack the rest, and an ``eventTime`` that the library can't parse would fail the whole array.
    """
    return EventAsSent(data.value)


func.get_binding_registry().get("eventGridTrigger").decode = _as_sent  # type: ignore[no-untyped-call]  # no types

app = func.FunctionApp()
log = logging.getLogger("helios.functions.azure")


@cache
def services() -> Services:
    """The services, built on first use: the host may load this file to list functions before it can read Key Vault."""
    return bootstrap.build_long_lived(configured)


@cache
def edge() -> Edge:
    """What ingests: with a log it needs no database."""
    return services() if configured.engine == "postgres" else bootstrap.build_edge(configured)


@cache
def coalescer() -> Coalescer:
    """The coalescer that all calls share."""
    return Coalescer(edge().ingest, timeout_seconds=2 * configured.database_timeout_seconds)


@app.event_grid_trigger(arg_name="event")
async def ingest(event: func.EventGridEvent) -> None:
    """Store one event of any schema. Returning acknowledges the event; raising makes Event Grid deliver it again.

    The host calls this once for each event of an array, all in parallel. The coalescer joins the events into a batch.

    Raises:
        Retryable: nothing was stored.
        TypeError: the host did not use the conversion above, so that the event may lack fields.
    """
    if not isinstance(event, EventAsSent):
        raise TypeError("azure-functions converted this event itself: update functions/azure to its version")
    # A string that was cut within a character has no UTF-8. Its error then names the field.
    body = event.text.encode(errors="surrogatepass")
    await _store(body)


@app.queue_trigger(arg_name="message", queue_name="events", connection="EventQueue")
async def ingest_queued(message: func.QueueMessage) -> None:
    """Store one event that Event Grid put into the queue. Returning deletes the message; raising retries it later.

    Python's worker takes one message a call. The host makes up to 128 calls in parallel (``extensions.queues`` in
    host.json), and the coalescer joins their events into a batch.

    Raises:
        Retryable: nothing was stored.
    """
    await _store(message.get_body())


@app.timer_trigger(schedule="0 * * * * *", arg_name="timer")
async def sweep(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the host passes it by this name
    """Sweep once a minute."""
    # Without recomputes: they read archived events, which the API or the sweep on AWS can.
    await asyncio.to_thread(bootstrap.sweep_alone, services(), datetime.now(UTC), recomputes=False)


async def _store(body: bytes) -> None:
    """Store one event, and log a rejected one.

    The worker passes on what a function logs during its own call. It may drop the line about the batch, which the
    thread of the coalescer logs, so the alarm ``rejected`` reads this one.
    """
    delivery = Delivery(channel="eventgrid", body=body, received_at=datetime.now(UTC))
    for outcome in await coalescer().submit([delivery]):
        if outcome.status == "rejected":
            log.warning("rejected", extra={"field": outcome.field, "reason": outcome.reason})
