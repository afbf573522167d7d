"""How long a day of many events takes to compare with the archive and to drop, and what ingest notices of both.

SQL fills the day, which the real ingest would do in minutes. The archive, the comparison, the drop and the batches
beside them are the real ones.
"""

import json
import sys
from datetime import timedelta

import psycopg

from helios.adapters.postgres.partitions import partitions
from scripts.bench.payloads import ORDER, TYPES
from scripts.bench.report import Table
from scripts.bench.retention import (
    DROP_GOAL,
    LONG_AGO,
    SMALL_BATCH,
    SUMMARY_COLUMNS,
    Drop,
    Simulation,
    Times,
    simulation,
    summaries,
)
from scripts.bench.servers import Servers

EVENTS, QUICK_EVENTS = 500_000, 20_000
"""Events of a day."""
DAYS, QUICK_DAYS = 5, 4

FILL = """
INSERT INTO events (source, producer, id, type, time, received_at, data, order_id, customer_id, amount, digest)
SELECT 'aws', 'shop', 'filled-' || i, 'OrderPlaced', received_at, received_at,
       (%(payload)s::jsonb || jsonb_build_object('order_id', 'ORD-filled-' || i))::json,
       'ORD-filled-' || i, 'CUST-' || i %% 10000, 249.97, left(md5(i::text), 16)
FROM generate_series(1, %(number)s) AS i, LATERAL (
    SELECT %(since)s::timestamptz + i * interval '86000 s' / %(number)s AS received_at
) AS at
"""


def measure(running: Servers, *, quick: bool, events: int | None = None) -> list[Table]:
    """Fill some days one after the other; archive, compare and drop each while batches are stored in the next one."""
    number, days = events or (QUICK_EVENTS if quick else EVENTS), QUICK_DAYS if quick else DAYS
    times, drops = list[Times](), list[Drop]()
    with simulation(running, number) as simulated:
        for day in range(days):
            times.append(Times([], [], []))
            drops.append(_drop(simulated, day, number, times[-1]))
            print(
                f"day {day + 1} of {days}: compared in {drops[-1].comparison:,.0f} ms, dropped in "
                f"{drops[-1].milliseconds:,.0f} ms",
                file=sys.stderr,
                flush=True,
            )
    return [
        Table(
            title=f"Ingest of batches of {SMALL_BATCH * len(TYPES)}, and the drop of {days} days of {number:,} events",
            columns=SUMMARY_COLUMNS,
            rows=summaries(times, drops),
            goal=DROP_GOAL,
        )
    ]


def _drop(simulated: Simulation, day: int, number: int, times: Times) -> Drop:
    since = simulated.begin + timedelta(days=day)
    end = since + timedelta(days=1)
    simulated.sweep(since)
    with psycopg.connect(simulated.database_url) as connection:
        connection.execute(FILL, {"payload": json.dumps(ORDER), "number": number, "since": since})
        name = next(each.name for each in partitions(connection) if each.since == since)
    simulated.archive.run(end + LONG_AGO)
    simulated.batches(times.quiet, end, lambda batches: batches < simulated.baseline)
    return simulated.drop(name, end, times)
