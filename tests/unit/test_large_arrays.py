"""Arrays of very many events: what a request may hold, and how much may wait."""

import asyncio
import threading
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from helios.errors import Rejected, Retryable
from helios.model.events import Channel, Delivery, Outcome
from helios.normalise import MAX_ELEMENTS, normalise, split
from helios.services.batching import MAX_WAITING_DELIVERIES, Coalescer
from tests.support.deliveries import poison

NOW = datetime(2025, 11, 26, 12, 0, tzinfo=UTC)


def array(elements: int) -> bytes:
    return b"[" + b",".join([b"0"] * elements) + b"]"


@pytest.mark.parametrize("channel", ["eventgrid", "cloudevents"])
def test_an_array_of_too_many_elements_is_one_delivery_and_413(channel: Channel):
    """Half a million elements fit into the limit on bytes; as deliveries they would take a gigabyte."""
    (delivery,) = split(channel, array(MAX_ELEMENTS + 1), {}, NOW)
    with pytest.raises(Rejected) as caught:
        normalise(delivery)

    assert (caught.value.status, caught.value.field) == (413, "body")
    assert caught.value.reason == f"has {MAX_ELEMENTS + 1} elements: send at most {MAX_ELEMENTS} at once"


def test_the_largest_array_is_one_delivery_per_element():
    assert [part.body for part in split("eventgrid", array(MAX_ELEMENTS), {}, NOW)] == [b"0"] * MAX_ELEMENTS


class Held:
    """An ingest that waits until ``go`` is set."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()

    def __call__(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        self.begun.set()
        assert self.go.wait(10)
        return [Outcome(status="stored") for _ in deliveries]


def test_more_deliveries_than_may_wait_are_refused_however_small():
    """Deliveries count as well as bytes; when the batch is stored there is room again."""
    ingest = Held()

    async def run() -> None:
        coalescer = Coalescer(ingest, timeout_seconds=10)
        first = asyncio.create_task(coalescer.submit([poison()]))
        await asyncio.to_thread(ingest.begun.wait, 10)
        largest = [poison(b"0")] * MAX_ELEMENTS
        requests = MAX_WAITING_DELIVERIES // MAX_ELEMENTS
        waiting = [asyncio.create_task(coalescer.submit(largest)) for _ in range(requests)]
        await asyncio.sleep(0)
        with pytest.raises(Retryable, match="Too many requests"):
            await coalescer.submit([poison(b"0")])
        ingest.go.set()
        outcomes = await asyncio.gather(first, *waiting)
        assert [len(each) for each in outcomes] == [1] + [MAX_ELEMENTS] * len(waiting)
        assert [outcome.status for outcome in await coalescer.submit([poison()])] == ["stored"]
        coalescer.close()

    asyncio.run(run())
