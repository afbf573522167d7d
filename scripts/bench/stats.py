"""The latency of reads from a large database."""

import http.client
import time

import psycopg

from helios.adapters.postgres.connection import open_pool
from helios.adapters.postgres.stream import PostgresOutbox
from helios.adapters.postgres.unit_of_work import PostgresUnitOfWork
from helios.model.counts import Count
from helios.model.stream import Frame
from helios.processes.ports import HOST
from scripts.bench.report import Table, median, percentile
from scripts.bench.servers import Servers, another_database, api
from scripts.bench.waiting import FRAMES, waiting_frames

STATS = "/api/v1/stats"

MILLION = 1_000_000
EVENTS_PER_SECOND = 10
"""The rate of the stored events: ten per second are 10 million in 11.6 days, or 16 700 minutes with six types each."""

# Without WAL and without the indexes that no request uses, the rows are inserted faster; reads are the same.
PREPARE = """
ALTER TABLE events_until SET UNLOGGED;
DROP INDEX events_order_id;
DROP INDEX events_received_at;
"""

FILL_EVENTS = """
INSERT INTO events (source, producer, id, type, time, received_at, data, order_id, customer_id, amount, digest)
SELECT (ARRAY['aws', 'gcp', 'azure'])[1 + n %% 3], 'bench', 'bench-' || n, 'Type' || n %% 6, at, at,
       '{"order_id": "ORD-1", "amount": 249.97, "currency": "EUR", "quantity": 3}', 'ORD-' || n / 3, 'CUST-0042',
       249.97, '0123456789abcdef'
FROM (SELECT n, now() - n * interval '1 second' / %(rate)s AS at FROM generate_series(1, %(size)s) AS n) AS spread
"""

COUNT_EVENTS = """
SELECT date_trunc('minute', received_at) AS minute, source, type, count(*) AS stored
FROM events GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""

CREATE_INDEX = "CREATE INDEX events_received_at ON events (received_at, source, id)"


def measure(running: Servers, *, quick: bool) -> list[Table]:
    """Milliseconds per request, with one and with ten million events."""
    rows: list[tuple[str, float, float, float]] = []
    for size in (MILLION,) if quick else (MILLION, 10 * MILLION):
        with another_database(running) as filled:
            _fill(filled, size)
            with api(filled) as (port, _):
                rows.extend(
                    _row(f"{path}, {size // MILLION} M events", _times(port, path))
                    for path in (STATS, "/api/v1/events?limit=50")
                )
                with waiting_frames(filled):
                    name = f"{STATS}, {size // MILLION} M events and {FRAMES:,} waiting frames"
                    rows.append(_row(name, _times(port, STATS)))
    return [
        Table(
            title="Reads, ms per request",
            columns=("request", "median", "p99", "requests"),
            rows=rows,
            goal="goal: /stats below 10 at 10 M events, and below 50 with the waiting frames",
        )
    ]


def _row(name: str, times: list[float]) -> tuple[str, float, float, int]:
    return name, median(times), percentile(times, 99), len(times)


def _fill(running: Servers, size: int) -> None:
    with psycopg.connect(running.database_url, autocommit=True) as connection:
        connection.execute(PREPARE)
        connection.execute(FILL_EVENTS, {"size": size, "rate": EVENTS_PER_SECOND})
        connection.execute("SET maintenance_work_mem = '256MB'")
        connection.execute(CREATE_INDEX)
        counted = connection.execute(COUNT_EVENTS).fetchall()
        counts = [Count(minute=minute, source=source, type=type_, stored=n) for minute, source, type_, n in counted]
        with connection.pipeline() as pipeline, connection.transaction():
            PostgresUnitOfWork(connection, pipeline).stream.publish(Frame(counts=counts, events=[]), [])
    with open_pool(running.database_url, connections=1, timeout_seconds=60) as pool:
        PostgresOutbox(pool).number()
    with psycopg.connect(running.database_url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE events, event_counts, event_totals")


def _times(port: int, path: str, count: int = 100) -> list[float]:
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    times = []
    for _ in range(count):
        started = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        times.append((time.perf_counter() - started) * 1e3)
        if answer.status != http.HTTPStatus.OK:
            raise RuntimeError(f"{path} returned {answer.status}")
    connection.close()
    return times[5:]  # without the first requests, which open connections and prepare statements
