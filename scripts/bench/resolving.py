"""Thousands of like orders that a person resolves in one action, and the undo of it: how long each takes."""

import time
from datetime import UTC, datetime, timedelta

from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.connection import open_pool
from helios.adapters.postgres.resolutions import PostgresResolutions
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.model.resolutions import ResolutionFilter, ResolutionRequest
from helios.reconciliation import declaration
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from helios.services.resolutions import resolve
from helios.services.sweep import expire_flows
from scripts.bench.orders import of_leg
from scripts.bench.report import Table
from scripts.bench.servers import Servers

ORDERS = 5000
QUICK_ORDERS = 500
BATCH = 500
ROUNDS = 3
GOAL_SECONDS = 2


def measure(running: Servers, *, quick: bool) -> list[Table]:
    """Orders without a payment are written off, and the action is undone; three times."""
    number = QUICK_ORDERS if quick else ORDERS
    running.empty()
    reconciler = Reconciler(declaration.load())
    received_at = datetime.now(UTC) - timedelta(hours=1)
    with open_pool(running.database_url, connections=2, timeout_seconds=60) as pool:
        store, resolutions = PostgresStore(pool), PostgresResolutions(pool)
        deliveries = of_leg(0, [f"ORD-{each}" for each in range(number)], received_at=received_at)
        for first in range(0, number, BATCH):
            ingest(deliveries[first : first + BATCH], dedupe=NullDedupeCache(), store=store, reconciler=reconciler)
        expire_flows(datetime.now(UTC), store=store, reconciler=reconciler)
        rows = [_round(resolutions, list(reconciler.evaluators)) for _ in range(ROUNDS)]
    title = f"{number:,} like orders resolved in one action, s"
    goal = f"goal: below {GOAL_SECONDS} seconds"
    return [Table(title=title, columns=("round", "orders", "resolved in", "undone in"), rows=rows, goal=goal)]


def _round(resolutions: PostgresResolutions, flows: list[str]) -> tuple[str, int, float, float]:
    """Write off every incomplete order, and undo it."""
    request = ResolutionRequest(
        step="write_off", filter=ResolutionFilter(status=("incomplete",)), text="the carrier lost them"
    )
    started = time.perf_counter()
    action = resolve(request, resolutions=resolutions, flows=flows, actor="bench", now=datetime.now(UTC))
    resolved = time.perf_counter()
    resolutions.undo(action.id or 0, actor="bench", now=datetime.now(UTC))
    return ("write off, undo", action.instances, resolved - started, time.perf_counter() - resolved)
