"""Concurrent requests share batches; each gets its own answer, and none waits for ever."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from helios.errors import Retryable
from helios.model.events import Delivery, Outcome
from helios.services.batching import MAX_BATCH, MAX_BATCH_BYTES, MAX_WAITING_BYTES, Coalescer
from tests.support.deliveries import eventbridge, poison


class Recorder:
    """An ingest that notes its batches; it holds the first one until ``go`` is set."""

    def __init__(self) -> None:
        self.batches: list[list[Delivery]] = []
        self.begun = threading.Event()
        self.go = threading.Event()
        self.error: Exception | None = None

    def __call__(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        self.batches.append(list(deliveries))
        self.begun.set()
        assert self.go.wait(10)
        if self.error:
            raise self.error
        return [Outcome(status="stored", reason=delivery.body.decode()) for delivery in deliveries]


@pytest.fixture
def ingest() -> Recorder:
    return Recorder()


async def gather(coalescer: Coalescer, ingest: Recorder, requests: Sequence[Sequence[Delivery]]):
    """Submit one request, and the others while its batch is being stored."""
    first = asyncio.create_task(coalescer.submit(requests[0]))
    await asyncio.to_thread(ingest.begun.wait, 10)
    others = [asyncio.create_task(coalescer.submit(request)) for request in requests[1:]]
    await asyncio.sleep(0)
    ingest.go.set()
    return await asyncio.gather(first, *others, return_exceptions=True)


def test_what_arrives_during_a_batch_is_the_next_batch(ingest):
    coalescer = Coalescer(ingest, timeout_seconds=10)
    asyncio.run(gather(coalescer, ingest, [[eventbridge(str(number))] for number in range(64)]))
    coalescer.close()

    assert [len(batch) for batch in ingest.batches] == [1, 63]


def test_each_request_gets_the_outcomes_of_its_own_deliveries(ingest):
    requests = [[poison(b"a")], [poison(b"b"), poison(b"c")], [poison(b"d")]]
    coalescer = Coalescer(ingest, timeout_seconds=10)
    answers = asyncio.run(gather(coalescer, ingest, requests))
    coalescer.close()

    assert [[outcome.reason for outcome in outcomes] for outcomes in answers] == [["a"], ["b", "c"], ["d"]]


def test_a_batch_has_a_limit_but_a_request_is_never_torn(ingest):
    """A request larger than the limit is a batch of its own."""
    large = [poison()] * (MAX_BATCH + 1)
    coalescer = Coalescer(ingest, timeout_seconds=10)
    asyncio.run(gather(coalescer, ingest, [[poison()], large, [poison()] * (MAX_BATCH - 1), [poison()], [poison()]]))
    coalescer.close()

    assert [len(batch) for batch in ingest.batches] == [1, MAX_BATCH + 1, MAX_BATCH, 1]


def test_a_batch_of_large_bodies_is_a_small_one(ingest):
    """Memory: on its way to Postgres a batch is copied several times."""
    half = poison(b"x" * (MAX_BATCH_BYTES // 2))
    larger = poison(b"x" * (MAX_BATCH_BYTES + 1))
    coalescer = Coalescer(ingest, timeout_seconds=10)
    asyncio.run(gather(coalescer, ingest, [[poison()], [half], [half], [half], [larger], [poison()]]))
    coalescer.close()

    assert [len(batch) for batch in ingest.batches] == [1, 2, 1, 1, 1]


def test_an_error_is_everybodys_and_the_next_request_starts_anew(ingest):
    async def run() -> tuple[list, list]:
        coalescer = Coalescer(ingest, timeout_seconds=10)
        ingest.error = Retryable("away")
        failed = await gather(coalescer, ingest, [[poison()], [poison()]])
        ingest.error = None
        stored = await coalescer.submit([poison()])
        coalescer.close()
        return failed, stored

    failed, stored = asyncio.run(run())
    assert [type(answer) for answer in failed] == [Retryable, Retryable]
    assert [outcome.status for outcome in stored] == ["stored"]


def test_who_has_gone_does_not_disturb_the_others(ingest):
    async def run() -> list[Outcome]:
        coalescer = Coalescer(ingest, timeout_seconds=10)
        leaving = asyncio.create_task(coalescer.submit([poison()]))
        staying = asyncio.create_task(coalescer.submit([poison()]))
        await asyncio.to_thread(ingest.begun.wait, 10)
        leaving.cancel()
        ingest.go.set()
        outcomes = await staying
        coalescer.close()
        return outcomes

    assert [outcome.status for outcome in asyncio.run(run())] == ["stored"]


def test_a_database_that_hangs_is_given_up_on(ingest):
    async def run() -> None:
        coalescer = Coalescer(ingest, timeout_seconds=0.05)
        with pytest.raises(Retryable, match="did not answer in time"):
            await coalescer.submit([poison()])
        ingest.go.set()
        coalescer.close()

    asyncio.run(run())


def test_more_than_fits_in_memory_is_refused(ingest):
    async def run() -> None:
        coalescer = Coalescer(ingest, timeout_seconds=10)
        first = asyncio.create_task(coalescer.submit([eventbridge()]))
        await asyncio.to_thread(ingest.begun.wait, 10)
        waiting = asyncio.create_task(coalescer.submit([poison(b"x" * MAX_WAITING_BYTES)]))
        await asyncio.sleep(0)
        with pytest.raises(Retryable, match="Too many requests are waiting"):
            await coalescer.submit([poison(b"x")])
        ingest.go.set()
        await asyncio.gather(first, waiting)
        coalescer.close()

    asyncio.run(run())
