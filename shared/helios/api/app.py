"""The application: every route, middleware and background task."""

import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path

import msgspec
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.concurrency import run_in_threadpool

from helios import bootstrap, logs
from helios.adapters.notifiers import BackgroundNotifier
from helios.adapters.redis.rate_limit import SlidingMinute
from helios.adapters.replay.registry import ConfiguredTargets
from helios.api import (
    asyncapi,
    audit,
    balances,
    counts,
    dashboard,
    dead_letters,
    docs_page,
    events,
    flow_versions,
    flows,
    incidents,
    openapi,
    recoveries,
    replay,
    replies,
    resolutions,
    sources,
    status,
    stream,
    webhooks,
)
from helios.api.access import Access
from helios.api.application import Application
from helios.api.metrics import Metrics
from helios.api.periodic import PeriodicWork
from helios.api.replies import InternalErrors
from helios.api.security_headers import SecurityHeaders
from helios.api.store_metrics import StoreCollector
from helios.api.stream import Broadcaster, OutboxFollower
from helios.api.webhook_receiver import WebhookReceiver
from helios.auth import webhook_auth
from helios.bootstrap import OpenArchive, Services, with_archive
from helios.model.access import Visibility
from helios.normalise import LARGEST_BODY_BYTES
from helios.services.batching import Coalescer
from helios.services.flow_preview import PreviewSources
from helios.services.flow_versions import FlowEditor
from helios.services.recoveries import RecoveryStarter
from helios.services.replay import ReplayStarter, ReplayWorker
from helios.services.views import Sources, View

log = logging.getLogger("helios.api")

MIN_CONNECTIONS_FOR_TWO_BATCHES = 4
"""With fewer connections, two batches at the same time would leave too few for the relay and for requests."""

STOP_SECONDS = 15.0
"""Longest wait for the replay batch in progress; an interrupted batch is sent again."""

DESCRIPTION = (
    "The events of three clouds and of any other source, each stored exactly once, and whether the sources agree."
)


def create_app(
    services: Services | None = None, *, archive: OpenArchive | None = None, is_one_of_several: bool = False
) -> FastAPI:
    """Build the API.

    Args:
        services: the adapters; by default built from the environment, archive included, with JSON logs on standard
            error.
        archive: what the process fills, and closes in the end; None: another process fills it.
        is_one_of_several: whether other processes on this machine serve the same address. Each then stores one batch at
            a time: the others use the other cores.

    Raises:
        ConfigurationError: a setting is missing or invalid.
    """
    if services is None:
        configured = bootstrap.configure()
        logs.configure(configured.log_level)
        services, archive = with_archive(bootstrap.build_long_lived(configured))
    authenticators = webhook_auth.build(services.settings, sources=services.sources)
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

    def views(visibility: Visibility) -> View:
        return View(_sources(services), visibility)

    view = access.viewing(views)
    notifier = BackgroundNotifier(services.notifier)
    ingest = metrics.observing(msgspec.structs.replace(services, notifier=notifier).ingest)
    coalescer = Coalescer(
        ingest,
        timeout_seconds=2 * services.settings.database_timeout_seconds,
        at_once=1 if is_one_of_several else _batches_at_once(services),
    )

    targets = ConfiguredTargets(services.settings)
    worker = ReplayWorker(
        services.jobs,
        targets,
        store=services.store,
        ingest=ingest,
        notifier=notifier,
        is_busy=lambda: coalescer.is_busy,
        sources=services.sources,
    )
    replay_thread = threading.Thread(target=worker.run_forever, name="replay", daemon=True)

    periodic_work = PeriodicWork(services, notifier, ingest, archive)
    follower = OutboxFollower(
        services.outbox,
        services.listener,
        broadcaster,
        views,
        sample_above=services.settings.sample_above_watchers,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        notifier.start()
        follower.start()
        replay_thread.start()
        periodic_work.start()
        yield
        follower.stop()
        worker.stop()
        await periodic_work.stop()
        await run_in_threadpool(replay_thread.join, STOP_SECONDS)
        coalescer.close()
        notifier.stop()
        services.close()
        if archive:
            archive.close()

    app = Application(
        title="Helios",
        version=version("helios"),
        description=DESCRIPTION,
        license_info=openapi.LICENSE,
        servers=openapi.SERVERS,
        openapi_tags=openapi.TAGS,
        generate_unique_id_function=openapi.operation_id,
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
    webhooks.install(app, coalescer, receiver, services.sources)
    probes = status.Probes(services)
    editor = FlowEditor(
        services.rules, services.versions, PreviewSources(services.flows, services.reader, services.store)
    )
    for router in (
        events.router(view, services.sources),
        sources.router(view, services.sources),
        counts.router(view),
        dead_letters.router(view, services.reader),
        flows.router(view, services.sources),
        incidents.router(view),
        balances.router(view),
        stream.frames_router(view),
        status.stats_router(view, probes, services.sources),
        status.metrics_router(metrics, access),
        audit.router(services.reader, access.require("read")),
        flow_versions.router(editor, services.versions, access),
        recoveries.router(view),
        recoveries.reading_router(services.recoveries, access.require("read")),
        resolutions.reading_router(services.resolutions, access.require("read")),
    ):
        app.include_router(router)
    max_body_bytes, origin = services.settings.max_body_bytes or LARGEST_BODY_BYTES, services.settings.dashboard_origin
    starter = ReplayStarter(services.jobs, targets, on_start=worker.wake)
    for router in (
        dead_letters.replay_router(
            ingest, services.reader, access, sources=services.sources, max_body_bytes=max_body_bytes
        ),
        incidents.actions_router(services.incidents, access, views, max_body_bytes=max_body_bytes),
        flow_versions.changing_router(editor, access, max_body_bytes=max_body_bytes),
        replay.router(starter, services.jobs, access, views, max_body_bytes=max_body_bytes),
        stream.router(services.outbox, notifier, broadcaster, access, services.settings, count=metrics.count_admission),
        resolutions.router(services.resolutions, access, views, max_body_bytes=max_body_bytes),
        recoveries.starting_router(
            RecoveryStarter(services.recoveries, services.flows, services.rules.evaluators, services.places),
            access,
            max_body_bytes=max_body_bytes,
        ),
        stream.tickets_router(services.tickets, access),
        status.health_router(probes, loopback=authenticators.loopback, dashboard_origin=origin),
    ):
        app.include_router(router)
    _install_pages(app, services.settings.dashboard_folder)
    return app


def _batches_at_once(services: Services) -> int:
    """How many batches a process that serves an address alone stores at the same time.

    A log takes batches one after the other: calls share its producer.
    """
    if services.log_edge or services.settings.database_connections < MIN_CONNECTIONS_FOR_TWO_BATCHES:
        return 1
    return 2


def _install_pages(app: FastAPI, dashboard_folder: str | None) -> None:
    """Add the documentation of the API and of the live stream, and the dashboard if its folder is set."""
    app.include_router(docs_page.router())
    app.include_router(asyncapi.router(app.version))
    openapi.describe(app)
    if dashboard_folder:
        dashboard.install(app, Path(dashboard_folder))


def _sources(services: Services) -> Sources:
    evaluators = services.reconciler.evaluators
    return Sources(
        services.reader,
        services.flows,
        services.outbox,
        services.jobs,
        evaluators,
        services.resolutions,
        services.incidents,
        services.balances,
        services.recoveries,
        {source: [place.name for place in places] for source, places in services.places.items()},
        services.settings.trace_url,
        services.sources,
    )
