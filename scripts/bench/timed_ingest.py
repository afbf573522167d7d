"""Stores batches on command, for ``scripts.bench.against``: it must run with the code of older versions too.

``python timed_ingest.py DATABASE_URL REDIS_URL`` migrates the database and prints a line. Then it reads the size of a
batch from each line of its standard input, stores such a batch, and prints the seconds that it took.
"""

import sys
import time

from helios.adapters.postgres.connection import open_pool
from helios.adapters.postgres.migrate import migrate
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.adapters.redis.dedupe import RedisDedupeCache
from helios.services.ingest import ingest
from scripts.bench.payloads import deliveries


def main(database_url: str, redis_url: str) -> None:
    """Serve until the end of the standard input."""
    migrate(database_url)
    pool = open_pool(database_url, connections=1, timeout_seconds=30)
    dedupe = RedisDedupeCache(redis_url, ttl_seconds=600)
    store = PostgresStore(pool)
    print("ready", flush=True)
    for line in sys.stdin:
        batch = deliveries(int(line))
        started = time.perf_counter()
        ingest(batch, dedupe=dedupe, store=store)
        print(time.perf_counter() - started, flush=True)
    dedupe.close()
    pool.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
