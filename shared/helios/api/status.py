"""Totals, health and metrics."""

import asyncio
import logging
import time
from datetime import UTC, datetime
from functools import partial

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.concurrency import run_in_threadpool

from helios.api.metrics import Metrics
from helios.api.probes import SHARED_SECONDS, SharedProbe
from helios.api.replies import reply, responses
from helios.api.shapes import Component, ComponentHealth, DetailedHealth, Health, Stats
from helios.api.webhook_receiver import is_local
from helios.bootstrap import Services
from helios.errors import Retryable
from helios.model.counts import Totals
from helios.ports.stream import EventSink, Outbox
from helios.services.sink import KAFKA

log = logging.getLogger("helios.api")

PROBE_SECONDS = 3.0
"""Longest wait for a probe; a service that takes longer is unhealthy."""

REDACTED_REASON = "unavailable; the log of this process has the details"
"""The reason that remote clients get, since the real one may name hosts and users."""

SINK_SECONDS = 60.0
"""How long the sink may be silent, or behind: longer than its longest pause and one attempt together."""


class Probes:
    """The probes of all components of one process."""

    def __init__(self, services: Services) -> None:
        sink = services.sink
        self._uses_redis, self._uses_kafka = bool(services.settings.redis_url), sink is not None
        probes = {
            "database": services.reader.probe,
            "redis": services.dedupe.probe,
            "kafka": partial(_probe_sink, sink, services.outbox) if sink else _nothing,
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

    @routes.get("/api/v1/health", responses=responses(200, "Health"))
    async def check_liveness() -> Response:
        """Check that this process is alive."""
        return reply(Health(status="healthy"))

    @routes.get(
        "/api/v1/health/detailed", responses=responses(200, "DetailedHealth") | responses(503, "DetailedHealth")
    )
    async def probe_services(request: Request) -> Response:
        """Probe every service that Helios needs, at most once a second; 503 when events can't be stored."""
        components, reasons = await probes.health()
        probes.log(reasons)
        if not (loopback and is_local(request, dashboard_origin)):
            reasons = dict.fromkeys(reasons, REDACTED_REASON)
        can_store = components.database == "healthy"
        body = DetailedHealth(
            status="unhealthy" if not can_store else "degraded" if reasons else "healthy",
            database=components.database,
            redis=components.redis,
            kafka=components.kafka,
            uptime=round(time.monotonic() - started, 3),
            timestamp=datetime.now(UTC),
            reasons=reasons,
        )
        return reply(body, status=200 if can_store else 503)

    return routes


def stats_router(services: Services, metrics: Metrics, probes: Probes) -> APIRouter:
    """The routes of the totals and the metrics."""
    routes = APIRouter(tags=["status"])

    def read_totals() -> Totals:
        services.outbox.number()
        return services.reader.totals(datetime.now(UTC), only_numbered=True)

    @routes.get("/api/v1/stats", responses=responses(200, "Stats", 401, 403, 429, 503))
    async def show_stats() -> Response:
        """Show the totals, up to a position of the live stream."""
        (health, _), totals = await asyncio.gather(probes.health(), run_in_threadpool(read_totals))
        return reply(
            Stats(
                position=totals.position,
                total_events=totals.stored,
                events_by_source=totals.events_by_source,
                last_24h=totals.last_24h,
                duplicates=totals.duplicate,
                contradictory=totals.contradictory,
                rejected=totals.rejected,
                health=health,
            )
        )

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


def _nothing() -> None:
    """Probe a service that is disabled."""


def _component(reason: str | None) -> Component:
    return "unhealthy" if reason else "healthy"
