"""What health says of Kafka: whether it answers, and whether what passes events on to it keeps up."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from helios.adapters.no_dedupe import NullDedupeCache
from helios.api import status
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from helios.services.sink import sink
from tests.fakes.store import MemoryOutbox, MemorySink, MemoryStore
from tests.support.deliveries import eventbridge
from tests.support.services import client_of, in_memory


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def kafka() -> MemorySink:
    return MemorySink()


@pytest.fixture
def health(store, kafka):
    """Asks for Kafka's health, and why it is so."""
    with client_of(msgspec.structs.replace(in_memory(store), sink=kafka)) as client:

        def ask() -> tuple[str, str | None]:
            found = client.get("/api/v1/health/detailed").json()
            return found["kafka"], found["reasons"].get("kafka")

        yield ask


def test_a_sink_that_keeps_up_is_healthy(store, kafka, health):
    sink("kafka", outbox=MemoryOutbox(store), target=kafka)

    assert health() == ("healthy", None)


def test_a_sink_that_was_never_started_is_missed(health):
    assert health() == ("unhealthy", "Kafka: the sink has never run; check that `helios sink` is running")


def test_a_sink_that_has_ended_or_fails_each_time_is_missed(store, kafka, health):
    sink("kafka", outbox=MemoryOutbox(store), target=kafka)
    store.seen_at["kafka"] -= timedelta(seconds=90)

    assert health() == ("unhealthy", "Kafka: the sink last ran 90 s ago; check that `helios sink` is running")


def test_a_sink_that_does_not_keep_up_is_told_by_how_much(store, kafka, health, monkeypatch):
    sink("kafka", outbox=MemoryOutbox(store), target=kafka)
    ingest([eventbridge("1")], dedupe=NullDedupeCache(), store=store, reconciler=Reconciler([]))
    store.seen_at["kafka"] = datetime.now(UTC) + timedelta(hours=1)
    monkeypatch.setattr(status, "SINK_SECONDS", 0.0)

    assert health() == ("unhealthy", "Kafka: the sink is 1 frames behind; the oldest has waited 0 s")


def test_brokers_that_are_away_come_first(kafka, health):
    kafka.away = True

    assert health() == ("unhealthy", "the sink in memory is away")
