"""Totals, health and metrics."""

import asyncio
import logging
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.concurrency import run_in_threadpool

from helios.api.access import Access, ViewDependency
from helios.api.metrics import Metrics
from helios.api.openapi import proved_by
from helios.api.probes import SHARED_SECONDS, SharedProbe
from helios.api.replies import reply, responses
from helios.api.webhook_receiver import is_local
from helios.bootstrap import Services
from helios.errors import Retryable
from helios.ports.leases import Leases
from helios.ports.reader import Reader
from helios.ports.stream import EventSink, Outbox
from helios.services.leadership import PROJECTOR
from helios.services.sink import KAFKA
from helios.services.views import View
from helios.shapes import Component, ComponentHealth, DetailedHealth, Health, Stats
from helios.sources.registry import Sources

log = logging.getLogger("helios.api")

PROBE_SECONDS = 3.0
"""Longest wait for a probe; a service that takes longer is unhealthy."""

REDACTED_REASON = "unavailable; the log of this process has the details"
"""The reason that remote clients get, since the real one may name hosts and users."""

SINK_SECONDS = 60.0
"""How long the sink may be silent, or behind: longer than its longest pause and one attempt together."""

ARCHIVE_SILENCE = timedelta(days=2)
"""How long the archive may be without a success. Each day is archived an hour after its end, so that one failure that
lasts until the next day does not alarm."""


class Probes:
    """The probes of all components of one process."""

    def __init__(self, services: Services) -> None:
        sink, edge = services.sink, services.log_edge
        self._uses_redis, self._uses_kafka = bool(services.settings.redis_url), sink is not None
        self._uses_log, self._uses_archive = edge is not None, bool(services.settings.archive_url)
        probes = {
            "database": services.reader.probe,
            "redis": services.dedupe.probe,
            "kafka": partial(_probe_sink, sink, services.outbox) if sink else _nothing,
            "log": edge.log.probe if edge else _nothing,
            "projector": partial(_probe_projector, services.leases) if edge else _nothing,
            "archive": partial(_probe_archive, services.reader) if self._uses_archive else _nothing,
        }
        self._probes = {name: SharedProbe(name, probe, longest_seconds=PROBE_SECONDS) for name, probe in probes.items()}
        self._logged_at = -SHARED_SECONDS

    async def health(self) -> tuple[ComponentHealth, dict[str, str]]:
        """The health of each component, and the reasons of those that are unhealthy."""
        answers = await asyncio.gather(*[probe.reason() for probe in self._probes.values()])
        results = dict(zip(self._probes, answers, strict=True))
        reasons = {name: reason for name, reason in results.items() if reason}
        health = ComponentHealth(
            database=_component(results["database"]),
            redis=_component(results["redis"]) if self._uses_redis else "disabled",
            kafka=_component(results["kafka"]) if self._uses_kafka else "disabled",
            log=_component(results["log"]) if self._uses_log else "disabled",
            projector=_component(results["projector"]) if self._uses_log else "disabled",
            archive=_component(results["archive"]) if self._uses_archive else "disabled",
        )
        return health, reasons

    def log(self, reasons: dict[str, str]) -> None:
        """Log the reasons, once for the callers that share them."""
        if reasons and time.monotonic() - self._logged_at >= SHARED_SECONDS:
            self._logged_at = time.monotonic()
            log.warning("unhealthy", extra={"reasons": reasons})


def health_router(probes: Probes, *, loopback: bool, dashboard_origin: str) -> APIRouter:
    """The health routes, which need no token; only a local client, with ``loopback``, and the log get the reasons."""
    routes = APIRouter(tags=["status"])
    started = time.monotonic()

    @routes.get("/api/v1/health", responses=responses(200, "Health"), openapi_extra=proved_by())
    async def check_liveness() -> Response:
        """Check that this process is alive."""
        return reply(Health(status="healthy"))

    @routes.get(
        "/api/v1/health/detailed",
        responses=responses(200, "DetailedHealth") | responses(503, "DetailedHealth"),
        openapi_extra=proved_by(),
    )
    async def probe_services(request: Request) -> Response:
        """Probe every service that Helios needs, at most once a second; 503 when events can't be stored."""
        components, reasons = await probes.health()
        probes.log(reasons)
        if not (loopback and is_local(request, dashboard_origin)):
            reasons = dict.fromkeys(reasons, REDACTED_REASON)
        can_store = components.database == "healthy" and components.log != "unhealthy"
        body = DetailedHealth(
            status="unhealthy" if not can_store else "degraded" if reasons else "healthy",
            database=components.database,
            redis=components.redis,
            kafka=components.kafka,
            log=components.log,
            projector=components.projector,
            archive=components.archive,
            uptime=round(time.monotonic() - started, 3),
            timestamp=datetime.now(UTC),
            reasons=reasons,
        )
        return reply(body, status=200 if can_store else 503)

    return routes


def stats_router(view: ViewDependency, probes: Probes, sources: Sources) -> APIRouter:
    """The route of the totals."""
    routes = APIRouter(tags=["status"])

    @routes.get("/api/v1/stats", responses=responses(200, "Stats", 401, 403, 429, 503))
    async def show_stats(reader: Annotated[View, Depends(view)]) -> Response:
        """Show the totals, up to a position of the live stream."""
        totals_now = run_in_threadpool(reader.totals, datetime.now(UTC))
        (health, _), totals = await asyncio.gather(probes.health(), totals_now)
        return reply(
            Stats(
                position=totals.position,
                total_events=totals.stored,
                events_by_source={name: 0 for name in sources if reader.sees_source(name)} | totals.events_by_source,
                last_24h=totals.last_24h,
                duplicates=totals.duplicate,
                contradictory=totals.contradictory,
                rejected=totals.rejected,
                health=health,
            )
        )

    return routes


def metrics_router(metrics: Metrics, access: Access) -> APIRouter:
    """The route of the metrics, which count what every sender sends: no token with limits may read them."""
    routes = APIRouter(tags=["status"], dependencies=[Depends(access.require("read"))])

    @routes.get("/metrics", include_in_schema=False)
    def prometheus() -> Response:
        """Show the metrics of this process in Prometheus' text format."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return routes


def _probe_sink(target: EventSink, outbox: Outbox) -> None:
    """Return if Kafka answers and the sink keeps up.

    Raises:
        Retryable: Kafka does not answer, or the sink does not run, or is behind.
    """
    target.probe()
    now = datetime.now(UTC)
    (sink,) = (consumer for consumer in outbox.consumers(KAFKA) if consumer.name == KAFKA)
    if sink.silent_seconds(now) > SINK_SECONDS:
        last_run = f"last ran {sink.silent_seconds(now):.0f} s ago" if sink.seen_at else "has never run"
        raise Retryable(f"Kafka: the sink {last_run}; check that `helios sink` is running")
    if sink.wait_seconds(now) > SINK_SECONDS:
        raise Retryable(
            f"Kafka: the sink is {sink.behind} frames behind; the oldest has waited {sink.wait_seconds(now):.0f} s"
        )


def _probe_projector(leases: Leases) -> None:
    """Return if a projector runs.

    Raises:
        Retryable: none does, or the store can't be reached.
    """
    if not leases.is_taken(PROJECTOR):
        raise Retryable("No projector runs: check that `helios projector` is running.")


def _probe_archive(reader: Reader) -> None:
    """Return if some process has archived lately.

    Raises:
        Retryable: none has, or the store can't be reached.
    """
    if (silent := datetime.now(UTC) - reader.archive_succeeded_at()) > ARCHIVE_SILENCE:
        raise Retryable(
            f"The archive last succeeded {silent // timedelta(hours=1)} hours ago: "
            "the log of the process that archives has the error. `helios archive run` tries again."
        )


def _nothing() -> None:
    """Probe a service that is disabled."""


def _component(reason: str | None) -> Component:
    return "unhealthy" if reason else "healthy"
