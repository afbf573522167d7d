"""How Helios is: totals, health, metrics."""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.concurrency import run_in_threadpool

from helios.api.metrics import Metrics
from helios.api.replies import documented, reply
from helios.api.shapes import Component, ComponentHealth, DetailedHealth, Health, Stats
from helios.api.webhook_receiver import is_local
from helios.bootstrap import Services
from helios.errors import Retryable
from helios.model.counts import Totals
from helios.ports.stream import EventSink, Outbox
from helios.services.sink import KAFKA

log = logging.getLogger("helios.api")

PROBE_SECONDS = 3.0
"""Longest wait for a probe: what takes longer is not healthy, whatever it says in the end."""

WITHHELD = "it does not answer; the log of this process says why"
"""What a part is said to say: its own words name hosts and users."""

SINK_SECONDS = 60.0
"""How long the sink may be silent, or behind: longer than its longest pause and one try."""


def health_router(services: Services, *, loopback: bool) -> APIRouter:
    """How this process is, for anybody; what its parts say is for this machine, with ``loopback``, and for the log."""
    routes = APIRouter(tags=["status"])
    started = time.monotonic()

    @routes.get("/api/v1/health", responses=documented(200, "Health"))
    async def health() -> Response:
        """Answer, and so show that this process is alive."""
        return reply(Health(status="healthy"))

    @routes.get(
        "/api/v1/health/detailed", responses=documented(200, "DetailedHealth") | documented(503, "DetailedHealth")
    )
    async def detailed_health(request: Request) -> Response:
        """Probe every part now; 503 when events can't be stored."""
        found, reasons = await _probe_all(services)
        if reasons:
            log.warning("not healthy", extra={"reasons": reasons})
        if not (loopback and is_local(request, services.settings.dashboard_origin)):
            reasons = dict.fromkeys(reasons, WITHHELD)
        able = found.database == "healthy"
        body = DetailedHealth(
            status="unhealthy" if not able else "degraded" if reasons else "healthy",
            database=found.database,
            redis=found.redis,
            kafka=found.kafka,
            uptime=round(time.monotonic() - started, 3),
            timestamp=datetime.now(UTC),
            reasons=reasons,
        )
        return reply(body, status=200 if able else 503)

    return routes


def figures_router(services: Services, metrics: Metrics) -> APIRouter:
    """Totals and metrics."""
    routes = APIRouter(tags=["status"])

    def told() -> Totals:
        services.outbox.number()
        return services.reader.totals(datetime.now(UTC), only_numbered=True)

    @routes.get("/api/v1/stats", responses=documented(200, "Stats", 401, 403, 429, 503))
    async def stats() -> Response:
        """Show the totals, as the live stream tells them."""
        (health, _), totals = await asyncio.gather(_probe_all(services), run_in_threadpool(told))
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
        """Show this process' metrics in Prometheus' text format."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return routes


async def _probe_all(services: Services) -> tuple[ComponentHealth, dict[str, str]]:
    sink = services.sink
    database, redis, kafka = await asyncio.gather(
        _probe(services.reader.probe),
        _probe(services.dedupe.probe),
        _probe(partial(_probe_sink, sink, services.outbox) if sink else _nothing),
    )
    found = {"database": database, "redis": redis, "kafka": kafka}
    reasons = {name: reason for name, reason in found.items() if reason}
    health = ComponentHealth(
        database=_verdict(database),
        redis=_verdict(redis) if services.settings.redis_url else "disabled",
        kafka=_verdict(kafka) if sink else "disabled",
    )
    return health, reasons


async def _probe(probe: Callable[[], None]) -> str | None:
    """Why a part is not healthy, or None."""
    try:
        await asyncio.wait_for(run_in_threadpool(probe), PROBE_SECONDS)
    except TimeoutError:
        return f"no answer within {PROBE_SECONDS:g} s"
    except Retryable as error:
        return str(error)
    return None


def _probe_sink(target: EventSink, outbox: Outbox) -> None:
    """Return if Kafka answers, and whoever passes events on to it keeps up."""
    target.probe()
    now = datetime.now(UTC)
    (sink,) = (one for one in outbox.consumers(KAFKA) if one.name == KAFKA)
    if sink.silent_seconds(now) > SINK_SECONDS:
        seen = f"was last seen {sink.silent_seconds(now):.0f} s ago" if sink.seen_at else "was never seen"
        raise Retryable(f"Kafka: the sink {seen}: does `python -m helios sink` run?")
    if sink.wait_seconds(now) > SINK_SECONDS:
        raise Retryable(
            f"Kafka: {sink.behind} frames wait to be passed on, the oldest for {sink.wait_seconds(now):.0f} s"
        )


def _nothing() -> None:
    """Probe a part that is not in use."""


def _verdict(reason: str | None) -> Component:
    return "unhealthy" if reason else "healthy"
