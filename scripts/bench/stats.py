"""What the figures of a large Helios cost to read."""

import http.client
import time

import psycopg

from local.ports import HOST
from scripts.bench.report import Table, median, percentile
from scripts.bench.servers import Servers, api

MILLION = 1_000_000
EVENTS_PER_SECOND = 10
"""How the events are spread: ten a second make 10 million in 11.6 days, 16 700 minutes of six types each."""

FILL_EVENTS = """
INSERT INTO events (source, id, type, time, received_at, origin, data, order_id, customer_id, amount, digest)
SELECT (ARRAY['aws', 'gcp', 'azure'])[1 + n %% 3], 'bench-' || n, 'Type' || n %% 6, at, at, 'bench',
       '{"order_id": "ORD-1", "amount": 249.97, "currency": "EUR", "quantity": 3}', 'ORD-' || n / 3, 'CUST-0042',
       249.97, '0123456789abcdef'
FROM (SELECT n, now() - n * interval '1 second' / %(rate)s AS at FROM generate_series(%(from)s, %(to)s) AS n) AS spread
"""

FILL_COUNTS = """
INSERT INTO event_counts (minute, source, type, stored)
SELECT date_trunc('minute', received_at), source, type, count(*) FROM events GROUP BY 1, 2, 3
"""


def measure(running: Servers, *, quick: bool) -> list[Table]:
    """Milliseconds an answer, at one and at ten million events."""
    rows: list[tuple[str, float, float, float]] = []
    filled = 0
    for size in (MILLION,) if quick else (MILLION, 10 * MILLION):
        _fill(running, filled + 1, size)
        filled = size
        with api(running) as (port, _):
            for path in ("/api/v1/stats", "/api/v1/events?limit=50"):
                times = _times(port, path)
                rows.append((f"{path}, {size // MILLION} M events", median(times), percentile(times, 99), len(times)))
    running.empty()
    return [
        Table(
            title="Reading, ms an answer",
            columns=("what", "median", "p99", "answers"),
            rows=rows,
            goal="goal: /stats below 10 at 10 M events",
        )
    ]


def _fill(running: Servers, first: int, last: int) -> None:
    with psycopg.connect(running.database_url, autocommit=True) as connection:
        connection.execute(FILL_EVENTS, {"from": first, "to": last, "rate": EVENTS_PER_SECOND})
        connection.execute("TRUNCATE event_counts")
        connection.execute(FILL_COUNTS)
        connection.execute("VACUUM ANALYZE events, event_counts")


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
            raise RuntimeError(f"{path}: {answer.status}")
    connection.close()
    return times[5:]  # the first ones connect and prepare
