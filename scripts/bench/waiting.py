"""Frames that wait for their positions: whoever gives the positions is stuck."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.connection import open_pool
from helios.adapters.postgres.stream import LOCK, TAKE_TURN
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.reconciliation import declaration
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from scripts.bench.orders import LEGS, of_leg
from scripts.bench.servers import Servers

FRAMES = 10_000

COPY_FRAMES = """
INSERT INTO frames (body, keys, counts, flow_counts)
SELECT body, keys, counts, flow_counts
FROM (SELECT row_number() OVER (ORDER BY id DESC) AS place, * FROM frames) AS latest
CROSS JOIN generate_series(1, %(copies)s)
WHERE place <= %(legs)s
"""


@contextmanager
def waiting_frames(running: Servers) -> Iterator[None]:
    """Have ``FRAMES`` frames wait during the block, each of a batch of one event of an order of three legs.

    The sums then lack what these frames carry. What reads at a position reads at the earlier one, the rest adds it.
    """
    reconciler = Reconciler(declaration.load())
    with open_pool(running.database_url, connections=1, timeout_seconds=60) as pool:
        for leg in range(len(LEGS)):
            ingest(
                of_leg(leg, ["ORD-WAITING"]), dedupe=NullDedupeCache(), store=PostgresStore(pool), reconciler=reconciler
            )
    with (
        psycopg.connect(running.database_url) as turn,
        psycopg.connect(running.database_url, autocommit=True) as connection,
    ):
        turn.execute(TAKE_TURN, [LOCK])
        connection.execute(COPY_FRAMES, {"copies": FRAMES // len(LEGS), "legs": len(LEGS)})
        try:
            yield
        finally:
            turn.rollback()
