"""``python -m scripts.bench.writers``: processes that store batches as fast as they can, each over its own connection.

Reads a Job as JSON from its standard input and prints a Result. All writers share one Redis, and begin together after
their first batches. A process beside them gives the frames their positions, as the relay does.
"""

import gc
import multiprocessing
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, Literal

import msgspec

from helios.adapters.postgres.connection import open_pool
from helios.adapters.postgres.stream import PostgresOutbox
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.adapters.redis.dedupe import RedisDedupeCache
from helios.errors import Retryable
from helios.model.events import Delivery
from helios.reconciliation import declaration
from helios.services.hints import Assumptions
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from scripts.bench.child import run_job
from scripts.bench.orders import LEGS, delivery, distinct
from scripts.bench.reference import bare_insert

WARM_UP = 8
"""Batches of each writer before the measurement: the fifth execution of a statement prepares it."""

NUMBERING_SECONDS = 0.25

START_SECONDS = 60
"""How long the writers wait for the last one of them."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to store.

    Attributes:
        database_url: where, as far away as the writers are.
        near_url: the same without the distance, for the relay.
        redis_url: the cache that all writers share.
        writers: the number of processes.
        batch: events of a batch.
        seconds: for how long.
        orders: distinct: each event has an order of its own. shared: the writers send the legs of the same orders, one
            after the other, at the same time.
        bare: only insert events, without anything that Helios does.
    """

    database_url: str
    near_url: str
    redis_url: str
    writers: int
    batch: int
    seconds: float
    orders: Literal["distinct", "shared"] = "distinct"
    bare: bool = False


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What the writers have measured.

    Attributes:
        events: the number of events that were stored within the time.
        seconds: the time.
        milliseconds: of each batch.
        failures: batches that failed.
    """

    events: int
    seconds: float
    milliseconds: list[float]
    failures: int

    @property
    def rate(self) -> float:
        """Events per second."""
        return self.events / self.seconds


def write(job: Job) -> Result:
    """Run the writers of a job, in processes of their own.

    Raises:
        RuntimeError: a writer failed.
    """
    return run_job("scripts.bench.writers", job, Result, seconds=job.seconds)


class _Together:
    """What the processes share.

    Attributes:
        start: where all wait for each other.
        sent: how many events of shared orders were sent.
    """

    def __init__(self, context: Any, writers: int) -> None:
        self.start = context.Barrier(writers)
        self.sent = context.Value("q", 0)
        self.run = uuid.uuid4().hex[:16]

    def take(self, count: int) -> list[Delivery]:
        """The next events of shared orders: writers that ask at the same time get legs of the same order."""
        with self.sent:
            first = self.sent.value
            self.sent.value += count
        numbers = range(first, first + count)
        return [delivery(number % len(LEGS), f"{self.run}-{number // len(LEGS):014}") for number in numbers]


def _write(job: Job, together: _Together, results: Connection) -> None:
    pool = open_pool(job.database_url, connections=1, timeout_seconds=30)
    store, dedupe = PostgresStore(pool), RedisDedupeCache(job.redis_url, ttl_seconds=600)
    reconciler, assumptions = Reconciler(declaration.load()), Assumptions()
    times: list[float] = []
    failures = 0

    def store_batch(batch: Sequence[Delivery]) -> None:
        if job.bare:
            with pool.connection() as connection:
                bare_insert(connection, batch)
        else:
            ingest(batch, dedupe=dedupe, store=store, reconciler=reconciler, assumptions=assumptions)

    for _ in range(WARM_UP):
        store_batch(distinct(job.batch))
    next_batch: Callable[[int], list[Delivery]] = distinct if job.orders == "distinct" else together.take
    together.start.wait(START_SECONDS)
    end = time.perf_counter() + job.seconds
    while time.perf_counter() < end:
        batch = next_batch(job.batch)
        started = time.perf_counter()
        try:
            store_batch(batch)
        except Retryable:
            failures += 1
            continue
        if (ended := time.perf_counter()) <= end:
            times.append(1000 * (ended - started))
    results.send((times, failures))
    pool.close()


def _number(job: Job) -> None:
    """Give frames their positions until this process is ended."""
    with open_pool(job.near_url, connections=1, timeout_seconds=30) as pool:
        outbox = PostgresOutbox(pool)
        while True:
            outbox.number()
            time.sleep(NUMBERING_SECONDS)


def _result(writer: Any, end: Connection) -> tuple[list[float], int]:
    wait([end, writer.sentinel])
    if not end.poll():
        raise RuntimeError(f"a writer has ended with {writer.exitcode}")
    times, failures = end.recv()
    return times, failures


def _run(job: Job) -> Result:
    gc.freeze()
    context = multiprocessing.get_context("fork")  # each writer starts with the modules loaded
    together = _Together(context, job.writers)
    receiving, sending = zip(*[context.Pipe(duplex=False) for _ in range(job.writers)], strict=True)
    writers = [context.Process(target=_write, args=(job, together, end), daemon=True) for end in sending]
    numbering = context.Process(target=_number, args=(job,), daemon=True)
    for process in (*writers, numbering):
        process.start()
    measured = [_result(writer, end) for writer, end in zip(writers, receiving, strict=True)]
    times = [milliseconds for of_writer, _ in measured for milliseconds in of_writer]
    return Result(
        events=len(times) * job.batch,
        seconds=job.seconds,
        milliseconds=times,
        failures=sum(failures for _, failures in measured),
    )


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(_run(msgspec.json.decode(sys.stdin.buffer.read(), type=Job))))
