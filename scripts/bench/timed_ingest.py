"""Stores batches on command, for ``scripts.bench.against``: it must run with the code of older versions too.

``python timed_ingest.py DATABASE_URL REDIS_URL`` migrates the database and prints a line. Then it reads the size of a
batch, and ``flows`` or ``plain``, from each line of its standard input, stores such a batch, and prints the seconds
that it took. With ``flows``, the batches in turn are the orders, the payments and the reservations of the same orders,
and the shipped flow evaluates them.
"""

import base64
import json
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from helios.adapters.postgres.connection import open_pool
from helios.adapters.postgres.migrate import migrate
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.adapters.redis.dedupe import RedisDedupeCache
from helios.model.events import Delivery
from helios.reconciliation import declaration
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from scripts.bench.payloads import ORDER, SHAPES, deliveries

LEGS = ("EventBridge", "Pub/Sub push", "Event Grid")


def main(database_url: str, redis_url: str) -> None:
    """Serve until the end of the standard input."""
    migrate(database_url)
    pool = open_pool(database_url, connections=1, timeout_seconds=30)
    dedupe = RedisDedupeCache(redis_url, ttl_seconds=600)
    store = PostgresStore(pool)
    reconciler = Reconciler(declaration.load())
    legs: dict[int, Iterator[Sequence[Delivery]]] = {}
    print("ready", flush=True)
    for line in sys.stdin:
        size, kind = line.split()
        number = int(size)
        with_flows = kind == "flows"
        batch = next(legs.setdefault(number, _legs(number))) if with_flows else deliveries(number)
        started = time.perf_counter()
        ingest(batch, dedupe=dedupe, store=store, reconciler=reconciler if with_flows else None)
        print(time.perf_counter() - started, flush=True)
    dedupe.close()
    pool.close()


def _legs(number: int) -> Iterator[Sequence[Delivery]]:
    """Batches of this many orders: their first legs, their second and third ones, and then those of other orders."""
    while True:
        orders = [f"ORD-{uuid.uuid4().hex}" for _ in range(number)]
        for leg in LEGS:
            now = datetime.now(UTC)
            channel = SHAPES[leg][0]
            yield [Delivery(channel=channel, body=_body(leg, order), received_at=now) for order in orders]


def _body(leg: str, order: str) -> bytes:
    """A new event of this leg of an order."""
    text = SHAPES[leg][1].replace("ID", uuid.uuid4().hex, 1)
    data = json.dumps(ORDER)
    changed = data.replace(str(ORDER["order_id"]), order)
    return text.replace(_encoded(data), _encoded(changed)).replace(data, changed).encode()


def _encoded(data: str) -> str:
    return base64.b64encode(data.encode()).decode()


if __name__ == "__main__":
    main(*sys.argv[1:])
