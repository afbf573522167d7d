"""Function app: Event Grid events, and the sweep on a timer."""

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
    """Built when first needed: the host loads this file to list its functions, maybe before Key Vault lets it in."""
    return bootstrap.build_long_lived(configured)


@cache
def coalescer() -> Coalescer:
    """One for all calls."""
    return Coalescer(services().ingest, timeout_seconds=2 * configured.database_timeout_seconds)


@app.event_grid_trigger(arg_name="event")
async def ingest(event: func.EventGridEvent) -> None:
    """Store one event of either schema. Returning acknowledges it; raising makes Event Grid send it again.

    The host calls once for each event of an array, all at the same time; the coalescer makes one batch of them again.

    Raises:
        Retryable: nothing was stored.
    """
    delivery = Delivery(channel="eventgrid", body=_json(_as_sent(event)), received_at=datetime.now(UTC))
    await coalescer().submit([delivery])


@app.timer_trigger(schedule="0 * * * * *", arg_name="timer")
async def sweep(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the host passes it by this name
    """Sweep once a minute."""
    parts = services()
    await asyncio.to_thread(
        sweep_store, datetime.now(UTC), store=parts.store, reconciler=parts.reconciler, notifier=parts.notifier
    )


def _as_sent(event: func.EventGridEvent | func.CloudEvent) -> Mapping[str, Any]:
    """The event in the words of its schema again: the host has parsed it, and keeps no text."""
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
    """The event's text again. What JSON or UTF-8 lacks stays as it is, so that it is refused and kept, and no null.

    Not msgspec, which writes an infinite number as null, and raises for one of more than 64 bits.
    """
    try:
        return json.dumps(event, default=datetime.isoformat, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half of a surrogate pair: only as an escape can it be written at all
        return json.dumps(event, default=datetime.isoformat).encode()
