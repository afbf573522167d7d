"""Function app: ingests Event Grid events, and runs the sweep on a timer."""

import asyncio
import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

import azure.functions as func

from helios import bootstrap, settings
from helios.bootstrap import Services
from helios.model.events import Delivery
from helios.services.batching import Coalescer
from helios.services.sweep import sweep as sweep_store

configured = settings.load()
logging.getLogger("helios").setLevel(configured.log_level)
app = func.FunctionApp()


@cache
def services() -> Services:
    """The services, built on first use: the host may load this file to list functions before it can read Key Vault."""
    return bootstrap.build_long_lived(configured)


@cache
def coalescer() -> Coalescer:
    """The coalescer that all calls share."""
    return Coalescer(services().ingest, timeout_seconds=2 * configured.database_timeout_seconds)


@app.event_grid_trigger(arg_name="event")
async def ingest(event: func.EventGridEvent) -> None:
    """Store one event of either schema. Returning acknowledges the event; raising makes Event Grid deliver it again.

    The host calls this once for each event of an array, all in parallel. The coalescer joins the events into a batch.

    Raises:
        Retryable: nothing was stored.
    """
    delivery = Delivery(channel="eventgrid", body=_json(_attributes(event)), received_at=datetime.now(UTC))
    await coalescer().submit([delivery])


@app.timer_trigger(schedule="0 * * * * *", arg_name="timer")
async def sweep(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the host passes it by this name
    """Sweep once a minute."""
    built = services()
    await asyncio.to_thread(
        sweep_store, datetime.now(UTC), store=built.store, reconciler=built.reconciler, notifier=built.notifier
    )


def _attributes(event: func.EventGridEvent | func.CloudEvent) -> Mapping[str, Any]:
    """The event's attributes by their names in its schema: the host parses the event and does not pass the JSON on."""
    if isinstance(event, func.CloudEvent):
        attributes = event.extension_attrs | {  # data_base64 is one of them
            "specversion": event.specversion,
            "id": event.id,
            "source": event.source,
            "type": event.type,
            "subject": event.subject,
            "time": event.time,
            "datacontenttype": event.datacontenttype,
            "dataschema": event.dataschema,
            "data": event.get_json(),
        }
        return {name: value for name, value in attributes.items() if value is not None}
    return {
        "id": event.id,
        "topic": event.topic or "",
        "subject": event.subject or "",
        "eventType": event.event_type,
        "eventTime": event.event_time,
        "data": event.get_json(),
        "dataVersion": event.data_version,
    }


def _json(event: Mapping[str, Any]) -> bytes:
    """The event as JSON. A value that JSON or UTF-8 lacks does not become null, so that Helios rejects and stores it.

    msgspec is not used, because it writes an infinite number as null, and raises for an integer of more than 64 bits.
    """
    try:
        return json.dumps(event, default=datetime.isoformat, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # an unpaired surrogate, which can only be written as an escape
        return json.dumps(event, default=datetime.isoformat).encode()
