"""Cloud Functions: ingests Pub/Sub messages from Eventarc, one CloudEvent per request, and runs the sweep."""

from datetime import UTC, datetime
from functools import cache
from threading import Lock

import functions_framework
import msgspec
from cloudevents.http import CloudEvent
from flask import Request

from helios import bootstrap, logs, settings
from helios.bootstrap import Services
from helios.model.events import Delivery
from helios.services.sweep import sweep as sweep_store

configured = settings.load()
logs.configure(configured.log_level)

ATTRIBUTES = ("specversion", "id", "source", "type", "time", "subject")

_building = Lock()


def services() -> Services:
    """The services, built on the first request: the framework's server forks after the import, and ends all threads."""
    with _building:  # the first requests may come in parallel
        return _services()


@cache
def _services() -> Services:
    return bootstrap.build_long_lived(configured)


@functions_framework.cloud_event
def ingest(event: CloudEvent) -> None:
    """Store one message. Returning acknowledges it; raising makes Pub/Sub deliver it again.

    An unreadable message is stored as a dead letter and acknowledged: after a 4xx, Pub/Sub would deliver it repeatedly.

    Raises:
        Retryable: nothing was stored.
    """
    delivery = Delivery(
        channel="pubsub",
        body=msgspec.json.encode(event.data),
        headers={f"ce-{name}": event[name] for name in ATTRIBUTES if event.get(name)},
        received_at=datetime.now(UTC),
    )
    services().ingest([delivery])


@functions_framework.http
def sweep(_request: Request) -> tuple[str, int]:
    """Sweep. Cloud Scheduler calls this once a minute; after an error, which returns 500, the next call repeats it."""
    built = services()
    sweep_store(datetime.now(UTC), store=built.store, reconciler=built.reconciler, notifier=built.notifier)
    return "", 204
