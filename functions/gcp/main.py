"""Cloud Functions: ingests Pub/Sub messages from Eventarc, one CloudEvent per request, and runs the sweep."""

import os
from datetime import UTC, datetime
from functools import cache
from threading import RLock

import functions_framework
from flask import Request

from helios import bootstrap, logs, settings
from helios.adapters.postgres.connection import await_route
from helios.bootstrap import Edge, Services
from helios.model.events import Delivery
from helios.normalise.headers import contract_headers
from helios.services.blocking import BlockingCoalescer

configured = settings.load()
logs.configure(configured.log_level)

ROUTE_SECONDS = 90
"""Cloud Run documentation, "Direct VPC egress": a new instance may have no connection for a minute or more. Cloud Run
sends no request before the framework listens, which is after this import, and waits four minutes for it."""

if "K_SERVICE" in os.environ and configured.engine == "postgres":  # set by Cloud Run: its "Container runtime contract"
    await_route(configured.postgres_url, seconds=ROUTE_SECONDS)

_building = RLock()


def services() -> Services:
    """The services, built on the first request: the framework's server forks after the import, and ends all threads."""
    with _building:  # the first requests may come in parallel
        return _services()


@cache
def _services() -> Services:
    return bootstrap.build_long_lived(configured, is_frozen_between_calls=True)


@cache
def _edge() -> Edge:
    if configured.engine == "postgres":
        return services()
    return bootstrap.build_edge(configured, is_frozen_between_calls=True)


def coalescer() -> BlockingCoalescer:
    """The coalescer that all requests share, built on the first request too."""
    with _building:
        return _coalescer()


@cache
def _coalescer() -> BlockingCoalescer:
    return BlockingCoalescer(_edge().ingest, timeout_seconds=2 * configured.database_timeout_seconds)


@functions_framework.http
def ingest(request: Request) -> tuple[str, int]:
    """Store one message. A success acknowledges it; an error, which returns 500, makes Pub/Sub deliver it again.

    Pub/Sub pushes one message per request, many at a time. The coalescer joins those that arrive while a batch is being
    stored into the next batch: one transaction and one notification instead of one of each per message.

    An unreadable message is stored as a dead letter and acknowledged: after a 4xx, Pub/Sub would deliver it repeatedly.
    The function takes the request as it is: the framework's CloudEvents lack what it does not know, have a made-up time
    if there is none, and a request that the framework can't read is answered 400.

    Raises:
        Retryable: nothing was stored.
    """
    if request.method != "POST":
        return "Method Not Allowed", 405
    delivery = Delivery(
        channel="pubsub",
        body=request.get_data(),
        headers=contract_headers(request.headers.items()),
        received_at=datetime.now(UTC),
    )
    coalescer().submit([delivery])
    return "", 200


@functions_framework.http
def sweep(_request: Request) -> tuple[str, int]:
    """Sweep. Cloud Scheduler calls this once a minute; after an error, which returns 500, the next call repeats it."""
    # Without recomputes: they read archived events, which the API or the sweep on AWS can.
    bootstrap.sweep_alone(services(), datetime.now(UTC), recomputes=False)
    return "", 204
