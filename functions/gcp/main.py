"""Cloud Functions: Pub/Sub messages, as Eventarc delivers them, one CloudEvent a request; and the sweep."""

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
    """Built with the first request: the framework's server forks after the import, and threads don't survive that."""
    with _building:  # the first requests may be several
        return _services()


@cache
def _services() -> Services:
    return bootstrap.build_long_lived(configured)


@functions_framework.cloud_event
def ingest(event: CloudEvent) -> None:
    """Store one message. Returning acknowledges it; raising makes Pub/Sub send it again.

    A message that can't be read is kept as a dead letter and acknowledged: a 4xx would bring it back for ever.

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
    """Sweep, once a minute by Cloud Scheduler's clock; an error is answered 500, and the next minute makes it good."""
    parts = services()
    sweep_store(datetime.now(UTC), store=parts.store, reconciler=parts.reconciler, notifier=parts.notifier)
    return "", 204
