"""The application: every route, and what all of them share."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.concurrency import run_in_threadpool

from helios import bootstrap, logs
from helios.adapters.notifiers import BackgroundNotifier
from helios.adapters.redis.rate_limit import SlidingMinute
from helios.adapters.replay.registry import ConfiguredTargets
from helios.api import audit, counts, dead_letters, events, flows, replay, replies, status, stream, webhooks
from helios.api.access import Access
from helios.api.metrics import Metrics
from helios.api.replies import Defects
from helios.api.security_headers import SecurityHeaders
from helios.api.shapes import SCHEMAS
from helios.api.store_metrics import StoreCollector
from helios.api.stream import Follower, Hub
from helios.api.webhook_receiver import WebhookReceiver
from helios.auth import webhook_auth
from helios.bootstrap import Services
from helios.errors import Retryable
from helios.services.batching import Coalescer
from helios.services.replay import ReplayWorker
from helios.services.replay_jobs import ReplayStarter
from helios.services.sweep import expire_flows, sweep

log = logging.getLogger("helios.api")

Chore = Callable[[datetime], object]
"""Something to do now and then; it is told the time."""

SWEEP_SECONDS = 60
EXPIRE_SECONDS = 2
"""How soon after its deadline a story is judged."""

STOP_SECONDS = 15.0
"""How long to wait for the batch of a replay that is under way; one that is cut off is sent again."""

DESCRIPTION = "The events of three clouds, each stored exactly once: what arrived, and what did not fit."


def create_app(services: Services | None = None) -> FastAPI:
    """Build the API.

    Args:
        services: what it works with; by default built from the environment, with JSON logs on standard error.

    Raises:
        ConfigurationError: a setting is missing or wrong.
    """
    if services is None:
        configured = bootstrap.configure()
        logs.configure(configured.log_level)
        services = bootstrap.build_long_lived(configured)
    authenticators = webhook_auth.build(services.settings)
    hub = Hub()
    metrics = Metrics(dedupe=services.dedupe, watchers=lambda: hub.clients)
    metrics.registry.register(StoreCollector(services))
    access = Access(
        services.tokens,
        services.tickets,
        people=webhook_auth.oidc_provider(services.settings),
        loopback=authenticators.loopback,
        origin=services.settings.dashboard_origin,
        limit=SlidingMinute(services.settings.rate_per_minute, redis_url=services.settings.redis_url),
        count=partial(metrics.entered, "api"),
    )
    may_read = [Depends(access.needs("read"))]
    notifier = BackgroundNotifier(services.notifier)
    take_in = metrics.observing(msgspec.structs.replace(services, notifier=notifier).ingest)
    coalescer = Coalescer(
        take_in,
        timeout_seconds=2 * services.settings.database_timeout_seconds,
    )

    targets = ConfiguredTargets(services.settings)
    worker = ReplayWorker(
        services.jobs,
        targets,
        store=services.store,
        ingest=take_in,
        notifier=notifier,
        is_busy=lambda: coalescer.is_busy,
    )
    replaying = threading.Thread(target=worker.run_forever, name="replays", daemon=True)

    chores: list[tuple[float, Chore]] = [
        (SWEEP_SECONDS, partial(sweep, store=services.store, reconciler=services.reconciler, notifier=notifier)),
        (
            EXPIRE_SECONDS,
            partial(expire_flows, store=services.store, reconciler=services.reconciler, notifier=notifier),
        ),
        (SWEEP_SECONDS, lambda _: services.outbox.number()),  # also when nobody watches
    ]
    follower = Follower(services.outbox, services.listener, hub)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        notifier.start()
        follower.start()
        replaying.start()
        tasks = [asyncio.create_task(_for_ever(seconds, chore)) for seconds, chore in chores]
        yield
        for task in tasks:
            task.cancel()
        follower.stop()
        worker.stop()
        await run_in_threadpool(replaying.join, STOP_SECONDS)
        coalescer.close()
        notifier.stop()
        services.close()

    app = FastAPI(title="Helios", version="1", description=DESCRIPTION, lifespan=lifespan, redoc_url=None)
    app.add_middleware(Defects)  # innermost: what it answers passes through the others
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
        count=metrics.entered,
    )
    webhooks.install(app, coalescer, receiver)
    reader = services.reader
    for readable in (
        events.router(reader),
        counts.router(reader),
        dead_letters.router(reader),
        audit.router(reader),
        flows.router(services.flows, reader, services.outbox, services.reconciler.evaluators),
        stream.frames_router(services.outbox),
        status.figures_router(services, metrics),
    ):
        app.include_router(readable, dependencies=may_read)
    app.include_router(
        dead_letters.replay_router(take_in, reader, access, max_body_bytes=services.settings.max_body_bytes)
    )
    app.include_router(
        replay.router(
            ReplayStarter(services.jobs, targets, on_start=worker.wake),
            services.jobs,
            access,
            max_body_bytes=services.settings.max_body_bytes,
        )
    )
    app.include_router(stream.router(services.outbox, notifier, hub, access, services.settings, count=metrics.entered))
    app.include_router(stream.tickets_router(services.tickets, access))
    app.include_router(status.health_router(services, loopback=authenticators.loopback))
    _describe_shapes(app)
    return app


async def _for_ever(seconds: float, chore: Chore) -> None:
    """What a schedule does in the clouds: Mangum runs no lifespan, so Lambda never comes here."""
    while True:
        try:
            await run_in_threadpool(chore, datetime.now(UTC))
        except Retryable as error:
            log.warning("sweep put off", extra={"error": str(error)})
        except Exception:  # a defect must not end the sweeps of a process that goes on to serve
            log.exception("sweep failed")
        await asyncio.sleep(seconds)


def _describe_shapes(app: FastAPI) -> None:
    """Let OpenAPI name our msgspec models: FastAPI by itself only knows pydantic's."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = generate()
            references, components = msgspec.json.schema_components(
                list(SCHEMAS.values()), ref_template="#/components/schemas/{name}"
            )
            named = schema.setdefault("components", {}).setdefault("schemas", {})
            # A generic shape is listed under our name too (EventPage is Page_Event_); the others have theirs already.
            named.update(dict(zip(SCHEMAS, references, strict=True)) | components)
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way, "Extending OpenAPI"
