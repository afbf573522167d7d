"""What reconciliation costs: ingest with flows against ingest without, a sweep of overdue stories, the summary."""

import http.client
import json
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import psycopg

from helios.adapters.memory import NoSeen
from helios.adapters.postgres.connection import open_pool
from helios.adapters.postgres.store import PostgresStore
from helios.event import Delivery
from helios.flows.ingest import ingest
from helios.flows.reconcile import Reconciler
from helios.flows.sweep import expire_flows
from helios.reconcile import declaration
from local.ports import HOST
from scripts.bench.payloads import ORDER, TIME
from scripts.bench.report import Table, median
from scripts.bench.servers import Servers, another_database, api

BATCH = 500
LEGS = ("OrderPlaced", "PaymentProcessed", "InventoryReserved")
SOURCES = (
    "arn:aws:events:eu-central-1:1:event-bus/shop",
    "//pubsub.googleapis.com/projects/p/topics/t",
    "/subscriptions/s",
)
LONG_AGO = timedelta(hours=1)

# Spread over a day; one in a hundred has a problem.
FILL_COUNTS = """
INSERT INTO flow_counts
SELECT minute, 'order', what, value, stories, 0, 0
FROM generate_series(date_trunc('minute', now()) - interval '1439 minutes', now(), interval '1 minute') AS minute,
     (VALUES ('status', 'matched', 680), ('status', 'mismatched', 4), ('status', 'incomplete', 3), ('clouds', '3', 690),
             ('clouds', '2', 4), ('issue', 'missing', 3), ('issue', 'mismatch', 4), ('issue', 'late', 2),
             ('match', '1', 400), ('match', '2.5', 280)) AS sums (what, value, stories)
"""

FILL_SLOTS = """
INSERT INTO flow_slots
SELECT date_bin('10 minutes', minute, 'epoch'), flow, what, value, sum(stories), 0, 0
FROM flow_counts GROUP BY 1, 2, 3, 4
"""


def measure(running: Servers, *, quick: bool) -> list[Table]:
    """Ratios and seconds."""
    return [_ingest(running, quick=quick), _sweep(running, quick=quick), _summary(running)]


def _ingest(running: Servers, *, quick: bool) -> Table:
    """Batches of one cloud each, as functions bring them: first legs, then second, then third ones."""
    pool = open_pool(running.database_url, connections=2, timeout_seconds=30)
    store = PostgresStore(pool)
    times: dict[tuple[str, bool], list[float]] = {(leg, flows): [] for leg in LEGS for flows in (True, False)}
    reconcilers = {True: Reconciler(declaration.load()), False: Reconciler([])}
    try:
        for _ in range(6 if quick else 30):
            for flows, reconciler in reconcilers.items():
                orders = [uuid.uuid4().hex for _ in range(BATCH)]
                for leg, source in zip(LEGS, SOURCES, strict=True):
                    given = _deliveries(leg, source, orders)
                    started = time.perf_counter()
                    ingest(given, seen=NoSeen(), store=store, reconciler=reconciler)
                    times[leg, flows].append(time.perf_counter() - started)
    finally:
        pool.close()
    running.empty()
    rows = [_ratio(leg, times[leg, True], times[leg, False]) for leg in LEGS]
    every = [[seconds for leg in LEGS for seconds in times[leg, flows]] for flows in (True, False)]
    return Table(
        title=f"Ingest with flows, batches of {BATCH}, events/s",
        columns=("what arrives", "with flows", "without", "ratio"),
        rows=[*rows, _ratio("all three", *every)],
        goal="goal: ratio of at least 0.7",
    )


def _ratio(name: str, with_flows: list[float], without: list[float]) -> tuple[str, float, float, float]:
    one, other = BATCH / median(with_flows), BATCH / median(without)
    return name, one, other, one / other


def _deliveries(type_: str, source: str, orders: Sequence[str], received_at: datetime | None = None) -> list[Delivery]:
    head = {"specversion": "1.0", "source": source, "type": type_, "time": TIME}
    at = received_at or datetime.now(UTC)
    return [
        Delivery(
            way_in="cloudevents",
            body=json.dumps(head | {"id": uuid.uuid4().hex, "data": ORDER | {"order_id": order}}).encode(),
            received_at=at,
        )
        for order in orders
    ]


def _sweep(running: Servers, *, quick: bool) -> Table:
    """Overdue stories, judged while batches keep arriving."""
    size = 10_000 if quick else 100_000
    pool = open_pool(running.database_url, connections=2, timeout_seconds=60)
    store, reconciler = PostgresStore(pool), Reconciler(declaration.load())
    now = datetime.now(UTC)
    try:
        for _ in range(size // BATCH):
            orders = [uuid.uuid4().hex for _ in range(BATCH)]
            overdue = _deliveries(LEGS[0], SOURCES[0], orders, received_at=now - LONG_AGO)
            ingest(overdue, seen=NoSeen(), store=store, reconciler=reconciler)
        started = time.perf_counter()
        judged = expire_flows(now, store=store, reconciler=reconciler)
        seconds = time.perf_counter() - started
    finally:
        pool.close()
    running.empty()
    return Table(
        title="Sweep of overdue stories",
        columns=("stories", "seconds", "stories/s"),
        rows=[(judged, seconds, judged / seconds)],
        goal="goal: 100 000 in less than 10 s",
    )


def _summary(running: Servers) -> Table:
    """Over a day of a million stories."""
    with another_database(running) as filled:
        with psycopg.connect(filled.database_url, autocommit=True) as connection:
            connection.execute(FILL_COUNTS)
            connection.execute(FILL_SLOTS)
            connection.execute("VACUUM ANALYZE flow_counts, flow_slots")
        with api(filled) as (port, _):
            times = _times(port, "/api/v1/flows/summary")
    return Table(
        title="Summary of a day of 1 M stories, ms an answer",
        columns=("what", "median", "answers"),
        rows=[("/api/v1/flows/summary", median(times), len(times))],
        goal="goal: below 20",
    )


def _times(port: int, path: str, count: int = 50) -> list[float]:
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    times = []
    for _ in range(count):
        started = time.perf_counter()
        connection.request("GET", path)
        connection.getresponse().read()
        times.append((time.perf_counter() - started) * 1000)
    connection.close()
    return times
