"""The cost of reconciliation: ingest with and without flows, a sweep of overdue flow instances, and the summary."""

import http.client
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg

from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.connection import open_pool
from helios.adapters.postgres.flows import columns
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.adapters.redis.dedupe import RedisDedupeCache
from helios.normalise import normalise
from helios.processes.ports import HOST
from helios.reconciliation import declaration
from helios.reconciliation.evaluate import BEFORE, FlowEvaluator
from helios.reconciliation.evidence import EvidenceExtractor, EvidenceSet, merge
from helios.reconciliation.record import record
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from helios.services.sweep import expire_flows
from local.stack.config import REPOSITORY
from scripts.bench.orders import LEGS, of_leg
from scripts.bench.payloads import TYPES
from scripts.bench.report import Table, median, percentile
from scripts.bench.servers import Servers, another_database, api

BATCH = 500
VARIED_FLOWS = REPOSITORY / "local" / "stack" / "varied_orders.toml"
"""Six flows with parcels, refunds, instalments, currencies, steps and sequences."""
LONG_AGO = timedelta(hours=1)
CONCURRENT_BATCH = 100
"""Events in a batch that is ingested during the sweep."""
BASELINE_BATCHES = 100
"""Batches that are ingested without a sweep, for comparison."""

QUERIES = ("/summary", "?status=mismatched&status=incomplete", "?status=open", "?key=ORD-99999", "?issue=missing", "")

# Instances of a day; one in a hundred has a problem.
FILL_COUNTS = """
INSERT INTO flow_counts
SELECT minute, 'order', what, value, instances, 0, 0
FROM generate_series(date_trunc('minute', now()) - interval '1439 minutes', now(), interval '1 minute') AS minute,
     (VALUES ('status', 'matched', 680), ('status', 'mismatched', 4), ('status', 'incomplete', 3), ('clouds', '3', 690),
             ('clouds', '2', 4), ('issue', 'missing', 3), ('issue', 'mismatch', 4), ('issue', 'late', 2),
             ('match', '1', 400), ('match', '2.5', 280)) AS sums (what, value, instances)
"""

FILL_SLOTS = """
INSERT INTO flow_slots
SELECT date_bin('10 minutes', minute, 'epoch'), flow, what, value, sum(instances), 0, 0
FROM flow_counts GROUP BY 1, 2, 3, 4
"""

# One in a hundred has a problem. Open instances begin in the future, or the API's own sweep would evaluate them.
FILL_FLOWS = """
INSERT INTO flow_instances (flow, key, status, opened_at, waiting, issues, version, details)
SELECT 'order', 'ORD-' || number, status, at, status = 'open',
       CASE status WHEN 'mismatched' THEN '{mismatch}'::text[] WHEN 'incomplete' THEN '{missing}' ELSE '{}' END, 3,
       %(details)s
FROM (
    SELECT number, now() + (number - %(instances)s + %(waiting)s) * interval '86400 seconds' / %(instances)s AS at,
           CASE WHEN number > %(instances)s - %(waiting)s THEN 'open' WHEN number %% 200 = 0 THEN 'mismatched'
                WHEN number %% 200 = 100 THEN 'incomplete' ELSE 'matched' END AS status
    FROM generate_series(1, %(instances)s) AS number
) AS instances
"""


def measure(running: Servers, *, quick: bool) -> list[Table]:
    """The tables of ingest, sweep and summary."""
    return [
        _ingest(running, quick=quick),
        _richer(running, quick=quick),
        _sweep(running, quick=quick),
        _summary(running, quick=quick),
    ]


def _ingest(running: Servers, *, quick: bool) -> Table:
    """Batches of one cloud each, as functions ingest them: first legs, then second, then third ones."""
    pool = open_pool(running.database_url, connections=2, timeout_seconds=30)
    store = PostgresStore(pool)
    dedupe = RedisDedupeCache(running.redis_url, ttl_seconds=600)
    times: dict[tuple[str, bool], list[float]] = {(name, flows): [] for name in TYPES for flows in (True, False)}
    reconcilers = {True: Reconciler(declaration.load()), False: Reconciler([])}
    try:
        for _ in range(6 if quick else 30):
            for flows, reconciler in reconcilers.items():
                orders = [uuid.uuid4().hex for _ in range(BATCH)]
                for leg, name in enumerate(TYPES):
                    batch = of_leg(leg, orders)
                    started = time.perf_counter()
                    ingest(batch, dedupe=dedupe, store=store, reconciler=reconciler)
                    times[name, flows].append(time.perf_counter() - started)
    finally:
        dedupe.close()
        pool.close()
    running.empty()
    rows = [_ratio(name, times[name, True], times[name, False]) for name in TYPES]
    every = [[seconds for name in TYPES for seconds in times[name, flows]] for flows in (True, False)]
    return Table(
        title=f"Ingest with flows, batches of {BATCH}, events/s",
        columns=("leg", "with flows", "without", "ratio"),
        rows=[*rows, _ratio("all three", *every)],
        goal="goal: ratio of at least 0.7",
    )


def _richer(running: Servers, *, quick: bool) -> Table:
    """Batches of orders that use none of the richer rules: by the shipped flow alone, or with richer ones beside it."""
    shipped = declaration.load()
    reconcilers = {False: Reconciler(shipped), True: Reconciler([*shipped, *declaration.load(str(VARIED_FLOWS))])}
    times: dict[bool, list[float]] = {False: [], True: []}
    with open_pool(running.database_url, connections=2, timeout_seconds=30) as pool:
        store = PostgresStore(pool)
        dedupe = RedisDedupeCache(running.redis_url, ttl_seconds=600)
        for round_ in range(6 if quick else 30):
            for richer in (False, True) if round_ % 2 else (True, False):
                orders = [uuid.uuid4().hex for _ in range(BATCH)]
                for leg in range(len(LEGS)):
                    batch = of_leg(leg, orders)
                    started = time.perf_counter()
                    ingest(batch, dedupe=dedupe, store=store, reconciler=reconcilers[richer])
                    times[richer].append(time.perf_counter() - started)
        dedupe.close()
    running.empty()
    return Table(
        title=f"Ingest of orders that use no richer rule, batches of {BATCH}, events/s",
        columns=("legs", "richer flows beside", "shipped flow alone", "ratio"),
        rows=[_ratio("all three", times[True], times[False])],
        goal="goal: ratio of at least 0.9",
    )


def _ratio(name: str, with_flows: list[float], without: list[float]) -> tuple[str, float, float, float]:
    rate, baseline = BATCH / median(with_flows), BATCH / median(without)
    return name, rate, baseline, rate / baseline


def _sweep(running: Servers, *, quick: bool) -> Table:
    """A sweep of overdue flow instances while batches of other instances are ingested."""
    size = 10_000 if quick else 100_000
    pool = open_pool(running.database_url, connections=3, timeout_seconds=60)
    store, reconciler = PostgresStore(pool), Reconciler(declaration.load())
    now = datetime.now(UTC)
    swept = threading.Event()
    try:
        for _ in range(size // BATCH):
            orders = [uuid.uuid4().hex for _ in range(BATCH)]
            overdue = of_leg(0, orders, received_at=now - LONG_AGO)
            ingest(overdue, dedupe=NullDedupeCache(), store=store, reconciler=reconciler)
        alone = _ingest_batches(store, reconciler, lambda batches: batches < BASELINE_BATCHES)
        with ThreadPoolExecutor(1) as thread:
            concurrent = thread.submit(_ingest_batches, store, reconciler, lambda _: not swept.is_set())
            started = time.perf_counter()
            try:
                transitions = expire_flows(now, store=store, reconciler=reconciler)
            finally:
                swept.set()
            seconds = time.perf_counter() - started
            meanwhile = concurrent.result()
    finally:
        pool.close()
    running.empty()
    return Table(
        title=f"Sweep of overdue flow instances during ingest of batches of {CONCURRENT_BATCH}",
        columns=("instances", "seconds", "instances/s", "ingest p99 ms alone", "p99 ms during", "batches during"),
        rows=[
            (
                transitions,
                seconds,
                transitions / seconds,
                percentile(alone, 99),
                percentile(meanwhile, 99),
                len(meanwhile),
            )
        ],
        goal="goal: 100 000 instances in less than 10 s, without blocking ingest",
    )


def _ingest_batches(store: PostgresStore, reconciler: Reconciler, goes_on: Callable[[int], bool]) -> list[float]:
    """Ingest batches while ``goes_on(number of batches)`` is true; return the milliseconds of each."""
    times: list[float] = []
    while goes_on(len(times)):
        batch = of_leg(0, [uuid.uuid4().hex for _ in range(CONCURRENT_BATCH)])
        started = time.perf_counter()
        ingest(batch, dedupe=NullDedupeCache(), store=store, reconciler=reconciler)
        times.append(1000 * (time.perf_counter() - started))
    return times


def _summary(running: Servers, *, quick: bool) -> Table:
    """The queries of the reconciliation view, over a day with a million flow instances, many of them open."""
    instances = 100_000 if quick else 1_000_000
    with another_database(running) as filled:
        with psycopg.connect(filled.database_url, autocommit=True) as connection:
            connection.execute(FILL_COUNTS)
            connection.execute(FILL_SLOTS)
            connection.execute(FILL_FLOWS, {"instances": instances, "waiting": instances // 20, "details": _instance()})
            connection.execute("VACUUM ANALYZE flow_instances, flow_counts, flow_slots")
        with api(filled) as (port, _):
            times = {path: _times(port, f"/api/v1/flows{path}") for path in QUERIES}
    return Table(
        title=f"Queries over a day of {instances:,} flow instances, {instances // 20:,} of them open, ms",
        columns=("request", "median", "requests"),
        rows=[(f"/api/v1/flows{path}", median(latencies), len(latencies)) for path, latencies in times.items()],
        goal="goal: summary below 20",
    )


def _instance() -> str:
    """All evidence of an order, as stored in a row; every row has the same evidence."""
    (flow,) = flows = declaration.load()
    extractor = EvidenceExtractor(flows)
    deliveries = [of_leg(leg, ["ORD-1"])[0] for leg in range(len(LEGS))]
    extracted = [keyed for delivery in deliveries for keyed in extractor.extract(normalise(delivery))]
    evidence_set = merge([EvidenceSet(items=[keyed.evidence]) for keyed in extracted])
    return str(columns([record(FlowEvaluator(flow), "ORD-1", evidence_set, now=BEFORE, version=3)])["details"])


def _times(port: int, path: str, count: int = 50) -> list[float]:
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    times = []
    for _ in range(count):
        started = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        if answer.status != http.client.OK:
            raise RuntimeError(f"{path} returned {answer.status}")
        times.append((time.perf_counter() - started) * 1000)
    connection.close()
    return times
