"""Concurrent requests share batches. Each request gets its own outcomes, and none waits without limit."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from helios.errors import Retryable
from helios.model.events import Delivery, Outcome
from helios.services import batching
from helios.services.batching import (
    FEW,
    FEW_BYTES,
    MAX_BATCH,
    MAX_BATCH_BYTES,
    MAX_WAITING_BYTES,
    MIN_REQUESTS_TO_HALVE,
    RESERVED_BYTES,
    SLICE,
    SLICE_BYTES,
    Coalescer,
)
from tests.support.deliveries import eventbridge, poison


class Recorder:
    """An ingest that records its batches and blocks the first one until ``go`` is set."""

    def __init__(self) -> None:
        self.batches: list[list[Delivery]] = []
        self.started = threading.Event()
        self.go = threading.Event()
        self.error: Exception | None = None

    def __call__(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        self.batches.append(list(deliveries))
        self.started.set()
        assert self.go.wait(10)
        if self.error:
            raise self.error
        return [Outcome(status="stored", reason=delivery.body.decode()) for delivery in deliveries]


@pytest.fixture
def ingest(monkeypatch) -> Recorder:
    monkeypatch.setattr(batching, "FAIR_SECONDS", 600.0)  # longer than a busy machine takes for a test
    return Recorder()


async def submit_during_a_batch(coalescer: Coalescer, ingest: Recorder, requests: Sequence[Sequence[Delivery]]):
    """Submit one request, and the others while Helios stores its batch."""
    first = asyncio.create_task(coalescer.submit(requests[0]))
    await asyncio.to_thread(ingest.started.wait, 10)
    others = [asyncio.create_task(coalescer.submit(request)) for request in requests[1:]]
    await asyncio.sleep(0)
    ingest.go.set()
    return await asyncio.gather(first, *others, return_exceptions=True)


def test_requests_that_arrive_during_a_batch_form_the_next_batch(ingest):
    coalescer = Coalescer(ingest, timeout_seconds=10)
    asyncio.run(submit_during_a_batch(coalescer, ingest, [[eventbridge(str(number))] for number in range(64)]))
    coalescer.close()

    assert [len(batch) for batch in ingest.batches] == [1, 63]


def test_the_next_batch_begins_when_as_many_requests_wait_as_the_last_one_had(ingest, monkeypatch):
    """Senders that wait for their answers are then all there. Without this, the test would take a minute."""
    monkeypatch.setattr(batching, "GATHER_SECONDS", 60)

    async def run() -> None:
        coalescer = Coalescer(ingest, timeout_seconds=50)
        await submit_during_a_batch(coalescer, ingest, [[eventbridge("first")], [eventbridge("a")], [eventbridge("b")]])
        await asyncio.gather(*(coalescer.submit([eventbridge(id_)]) for id_ in ("c", "d")))
        coalescer.close()

    asyncio.run(asyncio.wait_for(run(), 40))
    assert [len(batch) for batch in ingest.batches] == [1, 2, 2]


def test_many_requests_are_stored_in_two_halves_at_once():
    together = threading.Barrier(2, timeout=10)  # breaks, and fails the requests, if one half waits for the other
    sizes = []

    def ingest(deliveries: Sequence[Delivery]) -> list[Outcome]:
        together.wait()
        sizes.append(len(deliveries))
        return [Outcome(status="stored") for _ in deliveries]

    async def run() -> None:
        coalescer = Coalescer(ingest, timeout_seconds=20, at_once=2)
        await asyncio.gather(*(coalescer.submit([eventbridge(str(number))]) for number in range(MIN_REQUESTS_TO_HALVE)))
        coalescer.close()

    asyncio.run(run())
    assert sizes == [MIN_REQUESTS_TO_HALVE // 2] * 2


def test_few_requests_wait_for_the_batch_in_progress(ingest):
    """A batch of their own would cost more than the wait."""
    coalescer = Coalescer(ingest, timeout_seconds=10, at_once=2)
    asyncio.run(submit_during_a_batch(coalescer, ingest, [[eventbridge(str(number))] for number in range(5)]))
    coalescer.close()

    assert [len(batch) for batch in ingest.batches] == [1, 4]


def test_a_second_batch_stores_no_part_of_a_request_that_the_first_stores(ingest):
    """The outcomes of a request have the order of its deliveries, and it is answered when all are stored."""
    bodies = [str(number).encode() for number in range(2 * MAX_BATCH)]

    def block_the_first(deliveries: Sequence[Delivery]) -> list[Outcome]:
        if ingest.started.is_set():
            return [Outcome(status="stored", reason=delivery.body.decode()) for delivery in deliveries]
        return ingest(deliveries)

    async def run() -> list[Outcome]:
        coalescer = Coalescer(block_the_first, timeout_seconds=20, at_once=2)
        large = asyncio.create_task(coalescer.submit([poison(body) for body in bodies]))
        await asyncio.to_thread(ingest.started.wait, 10)
        for _ in range(3):  # a batch of a large request and one of small ones take turns
            await asyncio.gather(*(coalescer.submit([poison()]) for _ in range(MIN_REQUESTS_TO_HALVE)))
        assert not large.done()
        ingest.go.set()
        outcomes = await large
        coalescer.close()
        return outcomes

    assert [outcome.reason for outcome in asyncio.run(run())] == [body.decode() for body in bodies]


def test_the_next_batch_begins_after_a_while_with_fewer_requests(ingest):
    async def run() -> None:
        coalescer = Coalescer(ingest, timeout_seconds=10)
        await submit_during_a_batch(coalescer, ingest, [[eventbridge("first")], [eventbridge("a")], [eventbridge("b")]])
        await coalescer.submit([eventbridge("c")])
        coalescer.close()

    asyncio.run(run())
    assert [len(batch) for batch in ingest.batches] == [1, 2, 1]


def test_a_coalescer_outlives_an_event_loop_that_ended_during_a_batch(ingest):
    """Some callers have an event loop for each request."""
    coalescer = Coalescer(ingest, timeout_seconds=10)

    async def abandon() -> None:
        request = asyncio.create_task(coalescer.submit([eventbridge("first")]))
        await asyncio.to_thread(ingest.started.wait, 10)
        request.cancel()

    asyncio.run(abandon())
    ingest.go.set()
    outcomes = asyncio.run(coalescer.submit([eventbridge("second")]))
    coalescer.close()

    assert [outcome.status for outcome in outcomes] == ["stored"]


def test_each_request_gets_the_outcomes_of_its_own_deliveries(ingest):
    requests = [[poison(b"a")], [poison(b"b"), poison(b"c")], [poison(b"d")]]
    coalescer = Coalescer(ingest, timeout_seconds=10)
    answers = asyncio.run(submit_during_a_batch(coalescer, ingest, requests))
    coalescer.close()

    assert [[outcome.reason for outcome in outcomes] for outcomes in answers] == [["a"], ["b", "c"], ["d"]]


def test_a_batch_has_a_limit(ingest):
    """A request of many deliveries is stored in parts."""
    large = [poison()] * (MAX_BATCH + 1)
    coalescer = Coalescer(ingest, timeout_seconds=10)
    requests = [[poison(b"first")] * (FEW + 1), large]
    outcomes = asyncio.run(submit_during_a_batch(coalescer, ingest, requests))
    coalescer.close()

    assert [len(batch) for batch in ingest.batches] == [FEW + 1, MAX_BATCH, 1]
    assert [len(each) for each in outcomes] == [FEW + 1, MAX_BATCH + 1]


def test_an_array_of_thousands_does_not_keep_others_waiting(ingest):
    """Others' events wait for one part of an array, and no part is large while they send."""
    arrays = [[poison(b"array")] * 3000, [poison(b"array")] * 3000]
    others = [[poison(f"{number}".encode())] for number in range(20)]
    coalescer = Coalescer(ingest, timeout_seconds=10)
    outcomes = asyncio.run(submit_during_a_batch(coalescer, ingest, [[poison()], *arrays, *others]))
    coalescer.close()

    assert [delivery.body for delivery in ingest.batches[1]] == [b"array"] * SLICE
    assert [delivery.body for delivery in ingest.batches[2]] == [body for [body] in _bodies(others)]
    assert {len(batch) for batch in ingest.batches[3:]} == {SLICE}
    assert [len(each) for each in outcomes] == [1, 3000, 3000, *[1] * len(others)]


def test_several_arrays_are_stored_in_turn(ingest):
    one, other = [poison(b"one")] * 1000, [poison(b"other")] * 1000
    coalescer = Coalescer(ingest, timeout_seconds=10)
    asyncio.run(submit_during_a_batch(coalescer, ingest, [[poison()], one, other]))
    coalescer.close()

    first_of = [batch[0].body for batch in ingest.batches[1:5]]
    assert first_of == [b"one", b"other", b"one", b"other"]


def test_a_failed_part_fails_its_request_and_the_rest_is_not_stored(ingest):
    """The sender delivers all of it again."""
    ingest.error = Retryable("away")
    coalescer = Coalescer(ingest, timeout_seconds=10)
    answers = asyncio.run(submit_during_a_batch(coalescer, ingest, [[poison()], [poison()] * 3000]))
    coalescer.close()

    assert [type(answer) for answer in answers] == [Retryable, Retryable]
    assert [len(batch) for batch in ingest.batches] == [1, SLICE]


def _bodies(requests: Sequence[Sequence[Delivery]]) -> list[list[bytes]]:
    return [[delivery.body for delivery in request] for request in requests]


def test_large_bodies_make_a_batch_smaller(ingest):
    """Helios copies a batch several times on its way to Postgres, so this bounds the memory."""
    half = poison(b"x" * (MAX_BATCH_BYTES // 2))
    larger = poison(b"x" * (MAX_BATCH_BYTES + 1))
    coalescer = Coalescer(ingest, timeout_seconds=10)
    asyncio.run(submit_during_a_batch(coalescer, ingest, [[half], [half], [half], [half], [larger]]))
    coalescer.close()

    assert [len(batch) for batch in ingest.batches] == [1, 2, 1, 1]


def test_an_error_fails_every_request_of_its_batch_and_no_later_one(ingest):
    async def run() -> tuple[list, list]:
        coalescer = Coalescer(ingest, timeout_seconds=10)
        ingest.error = Retryable("away")
        failed = await submit_during_a_batch(coalescer, ingest, [[poison()], [poison()]])
        ingest.error = None
        stored = await coalescer.submit([poison()])
        coalescer.close()
        return failed, stored

    failed, stored = asyncio.run(run())
    assert [type(answer) for answer in failed] == [Retryable, Retryable]
    assert [outcome.status for outcome in stored] == ["stored"]


def test_a_cancelled_request_does_not_affect_the_others(ingest):
    async def run() -> list[Outcome]:
        coalescer = Coalescer(ingest, timeout_seconds=10)
        cancelled = asyncio.create_task(coalescer.submit([poison()]))
        remaining = asyncio.create_task(coalescer.submit([poison()]))
        await asyncio.to_thread(ingest.started.wait, 10)
        cancelled.cancel()
        ingest.go.set()
        outcomes = await remaining
        coalescer.close()
        return outcomes

    assert [outcome.status for outcome in asyncio.run(run())] == ["stored"]


def test_a_request_times_out_when_the_database_hangs(ingest):
    async def run() -> None:
        coalescer = Coalescer(ingest, timeout_seconds=0.05)
        with pytest.raises(Retryable, match="did not answer in time"):
            await coalescer.submit([poison()])
        ingest.go.set()
        coalescer.close()

    asyncio.run(run())


def test_a_large_request_beyond_the_memory_limit_is_refused_and_a_small_one_is_not(ingest):
    async def run() -> None:
        coalescer = Coalescer(ingest, timeout_seconds=10)
        first = asyncio.create_task(coalescer.submit([eventbridge()]))
        await asyncio.to_thread(ingest.started.wait, 10)
        waiting = asyncio.create_task(coalescer.submit([poison(b"x" * MAX_WAITING_BYTES)]))
        await asyncio.sleep(0)
        with pytest.raises(Retryable, match="Too many requests are waiting"):
            await coalescer.submit([poison(b"x" * (FEW_BYTES + 1))])
        small = [
            asyncio.create_task(coalescer.submit([poison(b"x" * FEW_BYTES)]))
            for _ in range(RESERVED_BYTES // FEW_BYTES)
        ]
        await asyncio.sleep(0)
        with pytest.raises(Retryable, match="Too many requests are waiting"):
            await coalescer.submit([poison(b"x")])
        ingest.go.set()
        await asyncio.gather(first, waiting, *small)
        coalescer.close()

    asyncio.run(run())


def test_a_large_body_is_not_in_the_batch_of_a_small_request(ingest):
    """Its bytes, and not only its deliveries, make a request large. Both kinds are stored in turn."""
    coalescer = Coalescer(ingest, timeout_seconds=10)
    large = [[poison(b"x" * SLICE_BYTES)] for _ in range(3)]
    requests = [[eventbridge("first")], *large, [eventbridge("small")]]
    asyncio.run(submit_during_a_batch(coalescer, ingest, requests))
    coalescer.close()
    sizes = [[len(delivery.body) >= SLICE_BYTES for delivery in batch] for batch in ingest.batches]
    assert sizes == [[False], [True], [False], [True], [True]]
