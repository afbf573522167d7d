"""The periodic work of the API servers: one of them does it at a time, except for reading the rules in force."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from starlette.concurrency import run_in_threadpool

from helios import bootstrap
from helios.bootstrap import OpenArchive, Services
from helios.errors import Retryable
from helios.ports.stream import Notifier
from helios.services.ingest import Ingest
from helios.services.leadership import Leadership
from helios.services.reconciler import Reconciler
from helios.services.retention import RetentionJob
from helios.services.sweep import expire_flows, sweep

log = logging.getLogger("helios.api")

PeriodicTask = Callable[[datetime], object]
"""A function that runs at an interval, with the current time."""

SWEEP_SECONDS = 60
EXPIRE_SECONDS = 2
"""Longest time from a flow instance's deadline to its evaluation."""

BALANCE_SECONDS = 15
"""Longest time from the end of a balance's grace period to its count."""

INCIDENT_SECONDS = 5
"""Longest time from a verdict to its incident."""

NOTIFY_SECONDS = 2
"""Longest time from a transition of an incident to the first attempt to notify of it."""

RECOMPUTE_SECONDS = 1
"""Longest time from an approval to the beginning of its recompute."""

RECOMPUTE_TURN_SECONDS = 5.0
"""How long a recompute works in one turn: a process that stops waits for the turn."""

RULES_SECONDS = 5
"""Longest time from an approval until another process shows the rules; no process evaluates by earlier ones."""
RECOVERY_SECONDS = 1
"""Longest time from the request for a recovery to the first search of a place."""

STORAGE_SECONDS = 3600

LEADERSHIP_SECONDS = 0.2
"""How soon a task begins in a process that becomes the one that does the periodic work."""


class PeriodicWork:
    """Runs every task at its interval, in the one process that leads.

    On Lambda a schedule does this, since Mangum runs no lifespan.
    """

    def __init__(self, services: Services, notifier: Notifier, ingest: Ingest, archive: OpenArchive | None) -> None:
        """Take what the tasks need; ``start`` starts them."""
        self._rules = services.rules
        self._tasks = _periodic_tasks(services, notifier, ingest, archive)
        self._leadership = Leadership(services.leases)
        self._running: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Run the tasks on the event loop of the caller, each in a thread."""
        self._leadership.start()
        self._running = [asyncio.create_task(self._lead(seconds, task)) for seconds, task in self._tasks]
        self._running.append(asyncio.create_task(_repeat(RULES_SECONDS, lambda _: self._rules.refresh())))

    async def stop(self) -> None:
        """Begin no further task, and let another process lead."""
        for running in self._running:
            running.cancel()
        await run_in_threadpool(self._leadership.stop)

    async def _lead(self, seconds: float, task: PeriodicTask) -> None:
        """Repeat a task while this process leads."""
        while True:
            if not self._leadership.is_held:
                await asyncio.sleep(min(seconds, LEADERSHIP_SECONDS))
                continue
            await _run(task)
            await asyncio.sleep(seconds)


async def _repeat(seconds: float, task: PeriodicTask) -> None:
    while True:
        await _run(task)
        await asyncio.sleep(seconds)


async def _run(task: PeriodicTask) -> None:
    try:
        await run_in_threadpool(task, datetime.now(UTC))
    except Retryable as error:
        log.warning("sweep failed, retrying later", extra={"error": str(error)})
    except Exception:  # a bug in one sweep must not end the sweeps of a process that still serves requests
        log.exception("sweep failed")


def _periodic_tasks(
    services: Services, notifier: Notifier, ingest: Ingest, archive: OpenArchive | None
) -> list[tuple[float, PeriodicTask]]:
    """What one process does at an interval, each with its interval in seconds."""

    def sweeping(now: datetime) -> object:
        def by_rules(reconciler: Reconciler) -> object:
            return sweep(
                now,
                store=services.store,
                reconciler=reconciler if services.judges else None,
                notifier=notifier,
                outbox=services.outbox,
                retention=services.retention,
            )

        return services.rules.apply(by_rules)

    def expiring(now: datetime) -> object:
        def by_rules(reconciler: Reconciler) -> int:
            return expire_flows(now, store=services.store, reconciler=reconciler, notifier=notifier)

        return services.rules.apply(by_rules)

    balance_job, incident_job = bootstrap.balance_job(services), bootstrap.incident_job(services)
    recompute_job = bootstrap.recompute_job(services)
    return [
        (SWEEP_SECONDS, sweeping),
        *([(EXPIRE_SECONDS, expiring)] if services.judges else []),
        *([(BALANCE_SECONDS, balance_job.run)] if balance_job else []),
        *([(INCIDENT_SECONDS, incident_job.run)] if incident_job else []),
        *([(RECOMPUTE_SECONDS, partial(recompute_job.run, seconds=RECOMPUTE_TURN_SECONDS))] if recompute_job else []),
        *([(NOTIFY_SECONDS, services.notifications.start)] if services.notifications else []),
        (RECOVERY_SECONDS, bootstrap.recovery_job(services, ingest).run),
        (STORAGE_SECONDS, partial(_keep_storage, archive=archive, retention=services.retention)),
    ]


def _keep_storage(now: datetime, *, archive: OpenArchive | None, retention: RetentionJob | None) -> None:
    """Archive the days that are over, and then drop the partitions that have expired."""
    if archive:
        archive.archive.run(now)
    if retention:
        retention.drop_expired(now)
