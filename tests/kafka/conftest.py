"""The sink as a process of its own, between Postgres and Apache Kafka."""

import sys
from collections.abc import Callable, Iterator

import pytest

from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.stream import PostgresOutbox
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.processes.process import Process, scrubbed_environment
from helios.services.ingest import ingest
from helios.services.sink import KAFKA
from tests.support.api import ROOT
from tests.support.deliveries import eventbridge

ORDERS = 7
"""The number of orders that the events of a test belong to."""

TIMEOUT_SECONDS = 10
"""``HELIOS_DATABASE_TIMEOUT_SECONDS``: the sink waits 80 % of it for Kafka."""


class Shop:
    """Stores events of a few orders, and knows what the sink has done with them.

    Attributes:
        ids: the ids of all events that were stored, in order. Each order has its events in this order.
    """

    def __init__(self, pool) -> None:
        self.ids: list[str] = []
        self._store, self._outbox = PostgresStore(pool), PostgresOutbox(pool)

    def sell(self, frames: int, *, events: int = 20) -> None:
        """Store a number of frames, each with some events of different orders."""
        for _ in range(frames):
            numbers = range(len(self.ids), len(self.ids) + events)
            deliveries = [
                eventbridge(f"{number:06}", detail={"order_id": f"ORD-{number % ORDERS}"}) for number in numbers
            ]
            ingest(deliveries, dedupe=NullDedupeCache(), store=self._store)
            self.ids += [f"{number:06}" for number in numbers]

    def unsent(self) -> int:
        """The number of frames that the sink has not forwarded."""
        self._outbox.number()
        (consumer,) = self._outbox.consumers(KAFKA)
        return consumer.behind

    def parked(self) -> int:
        """The number of events that Kafka has refused."""
        (consumer,) = self._outbox.consumers(KAFKA)
        return consumer.parked


@pytest.fixture
def shop(pool) -> Shop:
    """A shop without events, on an empty database."""
    return Shop(pool)


@pytest.fixture
def start_sink(database_url, server_folder, topic_name) -> Iterator[Callable[[str], Process]]:
    """Start ``helios sink`` for the topic of this test, at the given brokers."""
    running: list[Process] = []

    def start(brokers: str) -> Process:
        environment = scrubbed_environment(
            HELIOS_DATABASE_URL=database_url,
            HELIOS_DATABASE_TIMEOUT_SECONDS=str(TIMEOUT_SECONDS),
            HELIOS_KAFKA_BROKERS=brokers,
            HELIOS_KAFKA_TOPIC=topic_name,
        )
        log = server_folder / f"sink-{topic_name}.log"
        running.append(Process("sink", [sys.executable, "-m", "helios", "sink"], log=log, env=environment, cwd=ROOT))
        return running[-1]

    yield start
    for process in running:
        process.kill()
