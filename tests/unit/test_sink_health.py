"""The health of Kafka: whether its brokers answer, and whether the sink keeps up."""

import re
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
    """Returns Kafka's health and its reason from the API."""
    with client_of(msgspec.structs.replace(in_memory(store), sink=kafka)) as client:

        def ask() -> tuple[str, str | None]:
            answer = client.get("/api/v1/health/detailed").json()
            return answer["kafka"], answer["reasons"].get("kafka")

        yield ask


def test_a_sink_that_keeps_up_is_healthy(store, kafka, health):
    sink("kafka", outbox=MemoryOutbox(store), target=kafka)

    assert health() == ("healthy", None)


def test_a_sink_that_never_ran_is_unhealthy(health):
    assert health() == ("unhealthy", "Kafka: the sink has never run; check that `helios sink` is running")


def test_a_sink_that_has_stopped_is_unhealthy(store, kafka, health):
    sink("kafka", outbox=MemoryOutbox(store), target=kafka)
    store.seen_at["kafka"] -= timedelta(seconds=90)

    state, reason = health()

    assert state == "unhealthy"
    assert re.fullmatch(r"Kafka: the sink last ran 9\d s ago; check that `helios sink` is running", reason or "")


def test_a_sink_that_lags_is_unhealthy_with_its_lag(store, kafka, health, monkeypatch):
    sink("kafka", outbox=MemoryOutbox(store), target=kafka)
    ingest([eventbridge("1")], dedupe=NullDedupeCache(), store=store, reconciler=Reconciler([]))
    store.seen_at["kafka"] = datetime.now(UTC) + timedelta(hours=1)
    monkeypatch.setattr(status, "SINK_SECONDS", 0.0)

    state, reason = health()

    assert state == "unhealthy"
    assert re.fullmatch(r"Kafka: the sink is 1 frames behind; the oldest has waited \d s", reason or "")


def test_unavailable_brokers_are_the_first_reason(kafka, health):
    kafka.away = True

    assert health() == ("unhealthy", "the sink in memory is away")
