"""Arrays of very many events: what a request may hold, and how much may wait."""

import asyncio
import threading
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from helios.errors import Rejected, Retryable
from helios.model.events import Channel, Delivery, Outcome
from helios.normalise import FEW_COMMAS, MAX_ELEMENTS, normalise, split
from helios.services.batching import FEW, MAX_WAITING_DELIVERIES, RESERVED_DELIVERIES, Coalescer
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
    assert caught.value.reason == f"has more than {MAX_ELEMENTS} elements: send at most {MAX_ELEMENTS} at once"


def test_the_largest_array_is_one_delivery_per_element():
    assert [part.body for part in split("eventgrid", array(MAX_ELEMENTS), {}, NOW)] == [b"0"] * MAX_ELEMENTS


@pytest.mark.parametrize(
    ("element", "elements", "is_split"),
    [
        (b"[" + b"0," * 12 + b"0]", MAX_ELEMENTS, True),
        (b"[" + b"0," * 12 + b"0]", MAX_ELEMENTS + 1, False),
        (b'{"a":",,,,,,,,,,,,"}', MAX_ELEMENTS, True),
        (b"0", 2 * FEW_COMMAS, False),
        (b" 0\n", 2 * FEW_COMMAS, False),
    ],
)
def test_the_elements_of_an_array_with_many_commas_are_counted_up_to_the_limit(element, elements, is_split):
    """Commas within elements and texts are none between elements."""
    parts = split("eventgrid", b"[" + b",".join([element] * elements) + b"]", {}, NOW)

    assert len(parts) == (elements if is_split else 1)
    assert (parts[0].fault is None) is is_split


def test_an_array_that_is_no_json_is_read_up_to_the_limit_too():
    """Dividing such an array is slow."""
    (delivery,) = split("eventgrid", b"[x," + b"0," * (2 * FEW_COMMAS) + b"0]", {}, NOW)

    assert delivery.fault is not None
    assert delivery.fault.status == 413


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
    """Deliveries count as well as bytes; when the batch is stored there is room again. Single events have more room."""
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
            await coalescer.submit([poison(b"0")] * (FEW + 1))
        others = [asyncio.create_task(coalescer.submit([poison(b"0")])) for _ in range(RESERVED_DELIVERIES)]
        await asyncio.sleep(0)
        with pytest.raises(Retryable, match="Too many requests"):
            await coalescer.submit([poison(b"0")])
        ingest.go.set()
        outcomes = await asyncio.gather(first, *waiting, *others)
        sizes = [1] + [MAX_ELEMENTS] * len(waiting) + [1] * len(others)
        assert [len(each) for each in outcomes] == sizes
        assert [outcome.status for outcome in await coalescer.submit([poison()])] == ["stored"]
        coalescer.close()

    asyncio.run(run())
