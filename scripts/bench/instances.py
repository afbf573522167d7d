"""``python -m scripts.bench.instances``: instances of the functions of all clouds, which store events as they come.

Reads a Job as JSON from its standard input and prints a list of Results. Each instance is a process with the services
that a function builds. Its requests carry one event each and follow each other without a pause, but no cloud gets ahead
of its share of all events.
"""

import asyncio
import multiprocessing
import sys
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection, wait
from typing import Any

import msgspec

from helios import bootstrap
from helios.errors import Retryable
from helios.services.batching import Coalescer
from helios.settings import Settings
from scripts.bench.child import run_job
from scripts.bench.orders import delivery

WARM_UP = 8
START_SECONDS = 60
AHEAD = 50
"""How many events a cloud may be ahead of its share."""
PAUSE_SECONDS = 0.002


class Cloud(msgspec.Struct, frozen=True, kw_only=True):
    """The functions of one cloud.

    Attributes:
        leg: which leg of the orders they get.
        share: their share of all events.
        instances: the number of processes.
        concurrency: requests of an instance at the same time. More than one: it coalesces them.
        database_url: Postgres, as far away as it is from this cloud.
        notify_url: what they notify of new frames; None: they send NOTIFY.
    """

    leg: int
    share: float
    instances: int
    concurrency: int
    database_url: str
    notify_url: str | None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to run.

    Attributes:
        clouds: the clouds.
        redis_url: the cache of all clouds.
        notify_secret: the secret of ``notify_url``.
        seconds: for how long.
    """

    clouds: Sequence[Cloud]
    redis_url: str
    notify_secret: str
    seconds: float


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What the requests of one cloud have measured.

    Attributes:
        milliseconds: of each request that ended within the time.
        failures: requests that failed.
    """

    milliseconds: list[float]
    failures: int


def serve(job: Job) -> list[Result]:
    """Run the instances; a result for each cloud.

    Raises:
        RuntimeError: an instance failed.
    """
    return run_job("scripts.bench.instances", job, list[Result], seconds=job.seconds)


class Shares:
    """Shares the events between the clouds, over all processes."""

    def __init__(self, context: Any, shares: Sequence[float], processes: int) -> None:
        self.start = context.Barrier(processes)
        self._shares = shares
        self._sent = context.Array("q", len(shares))

    def take(self, cloud: int) -> bool:
        """Whether a cloud may send an event now."""
        with self._sent:
            if self._sent[cloud] > self._shares[cloud] * sum(self._sent) + AHEAD:
                return False
            self._sent[cloud] += 1
            return True


class _Instance:
    """One instance, with the latencies of its requests."""

    def __init__(self, job: Job, number: int, shares: Shares) -> None:
        self._cloud = job.clouds[number]
        self._number = number
        self._shares = shares
        settings = Settings(
            database_url=self._cloud.database_url,
            redis_url=job.redis_url,
            notify_url=self._cloud.notify_url,
            notify_secret=job.notify_secret,
        )
        self.services = bootstrap.build_long_lived(settings)
        self.times: list[float] = []
        self.failures = 0
        self._seconds = job.seconds

    async def run(self) -> None:
        """Send requests until the time is over."""
        coalescer = Coalescer(self.services.ingest, timeout_seconds=30)
        for _ in range(WARM_UP):
            await coalescer.submit([self._event()])
        with ThreadPoolExecutor(1) as thread:
            await asyncio.get_running_loop().run_in_executor(thread, self._shares.start.wait, START_SECONDS)
        end = time.perf_counter() + self._seconds
        async with asyncio.TaskGroup() as group:
            for _ in range(self._cloud.concurrency):
                group.create_task(self._send(coalescer, end))
        coalescer.close()

    async def _send(self, coalescer: Coalescer, end: float) -> None:
        while time.perf_counter() < end:
            if not self._shares.take(self._number):
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            started = time.perf_counter()
            try:
                await coalescer.submit([self._event()])
            except Retryable:
                self.failures += 1
                continue
            if (ended := time.perf_counter()) <= end:
                self.times.append(1000 * (ended - started))

    def _event(self) -> Any:
        return delivery(self._cloud.leg, uuid.uuid4().hex)


def _run_instance(job: Job, number: int, shares: Shares, results: Connection) -> None:
    instance = _Instance(job, number, shares)
    asyncio.run(instance.run())
    results.send((instance.times, instance.failures))
    instance.services.close()


def _run(job: Job) -> list[Result]:
    context = multiprocessing.get_context("fork")  # each instance starts with the modules loaded
    numbers = [number for number, cloud in enumerate(job.clouds) for _ in range(cloud.instances)]
    shares = Shares(context, [cloud.share for cloud in job.clouds], len(numbers))
    results = [Result(milliseconds=[], failures=0) for _ in job.clouds]
    running = []
    for number in numbers:
        receiving, sending = context.Pipe(duplex=False)
        process = context.Process(target=_run_instance, args=(job, number, shares, sending), daemon=True)
        process.start()
        running.append((number, process, receiving))
    for number, process, receiving in running:
        wait([receiving, process.sentinel])
        if not receiving.poll():
            raise RuntimeError(f"an instance has ended with {process.exitcode}")
        times, failures = receiving.recv()
        before = results[number]
        results[number] = Result(milliseconds=before.milliseconds + times, failures=before.failures + failures)
    return results


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(_run(msgspec.json.decode(sys.stdin.buffer.read(), type=Job))))
