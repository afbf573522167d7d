"""``python -m scripts.bench.publish CHANNEL RATE SECONDS API_URL``: publishes events to one channel by a schedule.

A separate process, whose environment points the vendors' SDKs to the emulators. The order id of every event has its due
time in ms since 1970: ``ORD-<ms>-<number>``. A first event ``WAKE-…`` only warms up connections and functions. Prints
``began`` when the schedule begins, and at the end how many events were accepted, including the first one.
"""

import asyncio
import sys
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

from helios.model.sources import Source
from scripts.simulator.answers import Publisher
from scripts.simulator.endpoints import connect, find
from scripts.simulator.plan import Emission
from scripts.simulator.shop import to_json
from scripts.simulator.webhook import Webhook

CHANNELS: Mapping[str, Source] = {"webhook": "aws", "EventBridge": "aws", "Pub/Sub": "gcp", "Event Grid": "azure"}
"""The source of the events for each channel."""

_TYPES: Mapping[Source, str] = {"aws": "OrderPlaced", "gcp": "PaymentProcessed", "azure": "InventoryReserved"}


class Schedule:
    """Publishes events when they are due, with the publisher's concurrency."""

    def __init__(self, publisher: Publisher, source: Source) -> None:
        self.accepted = 0
        self._publisher = publisher
        self._source = source
        self._due: asyncio.Queue[Emission] = asyncio.Queue()

    async def run(self, rate: float, seconds: float, *, name: str = "ORD") -> None:
        """Publish ``rate`` events per second, without waiting for the answers to earlier ones."""
        senders = [asyncio.create_task(self._send()) for _ in range(self._publisher.concurrency)]
        began, began_at = time.monotonic(), time.time()
        for number in range(int(rate * seconds)):
            await asyncio.sleep(began + number / rate - time.monotonic())
            self._due.put_nowait(self._event(name, number, began_at + number / rate))
        await self._due.join()
        for sender in senders:
            sender.cancel()

    async def _send(self) -> None:
        while True:
            batch = [await self._due.get()]
            while len(batch) < self._publisher.batch and not self._due.empty():
                batch.append(self._due.get_nowait())
            answers = await self._publisher.publish(batch)
            self.accepted += sum(answer.outcome == "accepted" for answer in answers)
            for _ in batch:
                self._due.task_done()

    def _event(self, name: str, number: int, at: float) -> Emission:
        order_id = f"{name}-{at * 1000:.0f}-{number}"
        return Emission(
            source=self._source,
            type=_TYPES[self._source],
            id=str(uuid.uuid4()),
            order_id=order_id,
            data=to_json({"order_id": order_id, "customer_id": "CUST-0042", "amount": "249.97"}),
            due=0,
            time=datetime.fromtimestamp(at, UTC),
        )


async def _run(channel: str, rate: float, seconds: float, api_url: str) -> None:
    source = CHANNELS[channel]
    publisher = Webhook(api_url) if channel == "webhook" else connect(find([source], allow_mixed=False)[source])
    schedule = Schedule(publisher, source)
    await schedule.run(1, 1, name="WAKE")  # warms up connections and functions
    print("began", flush=True)
    await schedule.run(rate, seconds)
    await publisher.close()
    print(schedule.accepted)


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), sys.argv[4]))
