"""The application: every route, middleware and background task."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Any

import msgspec
from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.concurrency import run_in_threadpool

from helios import bootstrap, logs
from helios.adapters.notifiers import BackgroundNotifier
from helios.adapters.redis.rate_limit import SlidingMinute
from helios.adapters.replay.registry import ConfiguredTargets
from helios.api import audit, counts, dead_letters, docs_page, events, flows, replay, replies, status, stream, webhooks
from helios.api.access import Access
from helios.api.metrics import Metrics
from helios.api.replies import InternalErrors
from helios.api.security_headers import SecurityHeaders
from helios.api.shapes import SCHEMAS
from helios.api.store_metrics import StoreCollector
from helios.api.stream import Broadcaster, OutboxFollower
from helios.api.webhook_receiver import WebhookReceiver
from helios.auth import webhook_auth
from helios.bootstrap import Services
from helios.errors import Retryable
from helios.services.batching import Coalescer
from helios.services.replay import ReplayStarter, ReplayWorker
from helios.services.sweep import expire_flows, sweep

log = logging.getLogger("helios.api")

PeriodicTask = Callable[[datetime], object]
"""A function that runs at an interval, with the current time."""

SWEEP_SECONDS = 60
EXPIRE_SECONDS = 2
"""Longest time from a flow instance's deadline to its evaluation."""

STOP_SECONDS = 15.0
"""Longest wait for the replay batch in progress; an interrupted batch is sent again."""

DESCRIPTION = "The events of three clouds, each stored exactly once, and whether the clouds agree."


def create_app(services: Services | None = None) -> FastAPI:
    """Build the API.

    Args:
        services: the adapters; by default built from the environment, with JSON logs on standard error.

    Raises:
        ConfigurationError: a setting is missing or invalid.
    """
    if services is None:
        configured = bootstrap.configure()
        logs.configure(configured.log_level)
        services = bootstrap.build_long_lived(configured)
    authenticators = webhook_auth.build(services.settings)
    broadcaster = Broadcaster()
    metrics = Metrics(dedupe=services.dedupe, watchers=lambda: broadcaster.client_count)
    metrics.registry.register(StoreCollector(services))
    access = Access(
        services.tokens,
        services.tickets,
        oidc=webhook_auth.oidc_provider(services.settings),
        loopback=authenticators.loopback,
        origin=services.settings.dashboard_origin,
        limit=SlidingMinute(services.settings.rate_per_minute, redis_url=services.settings.redis_url),
        count=partial(metrics.count_admission, "api"),
    )
    reading = access.require("read")
    may_read = [Depends(reading)]
    notifier = BackgroundNotifier(services.notifier)
    ingest = metrics.observing(msgspec.structs.replace(services, notifier=notifier).ingest)
    coalescer = Coalescer(
        ingest,
        timeout_seconds=2 * services.settings.database_timeout_seconds,
    )

    targets = ConfiguredTargets(services.settings)
    worker = ReplayWorker(
        services.jobs,
        targets,
        store=services.store,
        ingest=ingest,
        notifier=notifier,
        is_busy=lambda: coalescer.is_busy,
    )
    replay_thread = threading.Thread(target=worker.run_forever, name="replay", daemon=True)

    periodic_tasks: list[tuple[float, PeriodicTask]] = [
        (SWEEP_SECONDS, partial(sweep, store=services.store, reconciler=services.reconciler, notifier=notifier)),
        (
            EXPIRE_SECONDS,
            partial(expire_flows, store=services.store, reconciler=services.reconciler, notifier=notifier),
        ),
        (SWEEP_SECONDS, lambda _: services.outbox.number()),  # also while the live stream has no client
    ]
    follower = OutboxFollower(services.outbox, services.listener, broadcaster)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        notifier.start()
        follower.start()
        replay_thread.start()
        tasks = [asyncio.create_task(_repeat(seconds, task)) for seconds, task in periodic_tasks]
        yield
        for task in tasks:
            task.cancel()
        follower.stop()
        worker.stop()
        await run_in_threadpool(replay_thread.join, STOP_SECONDS)
        coalescer.close()
        notifier.stop()
        services.close()

    app = FastAPI(
        title="Helios",
        version=version("helios"),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(InternalErrors)  # innermost: its answers pass through the other middleware
    app.add_middleware(
        CORSMiddleware,
        allow_origins=[services.settings.dashboard_origin],
        allow_methods=["GET", "POST"],
        allow_headers=["authorization", "content-type"],
    )
    app.add_middleware(SecurityHeaders)
    replies.install(app)
    receiver = WebhookReceiver(
        authenticators,
        max_body_bytes=services.settings.max_body_bytes,
        dashboard_origin=services.settings.dashboard_origin,
        count=metrics.count_admission,
    )
    webhooks.install(app, coalescer, receiver)
    probes = status.Probes(services)
    reader = services.reader
    for router in (
        events.router(reader),
        counts.router(reader),
        dead_letters.router(reader),
        audit.router(reader, reading),
        flows.router(services.flows, reader, services.outbox, services.reconciler.evaluators),
        stream.frames_router(services.outbox),
        status.stats_router(services, metrics, probes),
    ):
        app.include_router(router, dependencies=may_read)
    app.include_router(
        dead_letters.replay_router(ingest, reader, access, max_body_bytes=services.settings.max_body_bytes)
    )
    app.include_router(
        replay.router(
            ReplayStarter(services.jobs, targets, on_start=worker.wake),
            services.jobs,
            access,
            max_body_bytes=services.settings.max_body_bytes,
        )
    )
    app.include_router(
        stream.router(services.outbox, notifier, broadcaster, access, services.settings, count=metrics.count_admission)
    )
    app.include_router(stream.tickets_router(services.tickets, access))
    app.include_router(
        status.health_router(
            probes, loopback=authenticators.loopback, dashboard_origin=services.settings.dashboard_origin
        )
    )
    app.include_router(docs_page.router())
    _describe_shapes(app)
    return app


async def _repeat(seconds: float, task: PeriodicTask) -> None:
    """Run a task at an interval. On Lambda a schedule does this instead, since Mangum runs no lifespan."""
    while True:
        try:
            await run_in_threadpool(task, datetime.now(UTC))
        except Retryable as error:
            log.warning("sweep failed, retrying later", extra={"error": str(error)})
        except Exception:  # a bug in one sweep must not end the sweeps of a process that still serves requests
            log.exception("sweep failed")
        await asyncio.sleep(seconds)


def _describe_shapes(app: FastAPI) -> None:
    """Add the msgspec models to the OpenAPI schemas: FastAPI adds only pydantic's."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = generate()
            references, components = msgspec.json.schema_components(
                list(SCHEMAS.values()), ref_template="#/components/schemas/{name}"
            )
            schemas = schema.setdefault("components", {}).setdefault("schemas", {})
            # A generic shape gets a second name (EventPage for Page_Event_); the others have their names already.
            schemas.update(dict(zip(SCHEMAS, references, strict=True)) | components)
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way, "Extending OpenAPI"
