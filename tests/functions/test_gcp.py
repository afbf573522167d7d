"""The Cloud Function, served by Google's functions-framework, with requests of Eventarc."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Timer

import functions_framework
import pytest

from helios.adapters.postgres.reader import PostgresReader
from helios.model.dead_letters import DeadLetterFilter
from helios.model.events import EventFilter
from helios.processes.ports import HOST, free_port
from tests.support import envelopes
from tests.support.flow_versions import approve, recomputing
from tests.support.waiting import eventually

MAIN = Path(__file__).parents[2] / "functions" / "gcp" / "main.py"

HEADERS = envelopes.cloudevent_headers(
    type="google.cloud.pubsub.topic.v1.messagePublished",
    source="//pubsub.googleapis.com/projects/shop/topics/payments",
    time="2025-11-26T12:00:01.123Z",
)


@pytest.fixture
def function(pool, database_url, valkey_server, monkeypatch):
    """A client of the function after a cold start."""
    monkeypatch.setenv("HELIOS_DATABASE_URL", database_url)
    monkeypatch.setenv("HELIOS_REDIS_URL", valkey_server.url)
    app = functions_framework.create_app("ingest", str(MAIN), "cloudevent")
    return app.test_client()


def message(data: bytes, message_id: str) -> dict:
    """A message as Eventarc posts it. functions-framework's conversion drops subscription and deliveryAttempt."""
    attributes = {"ce-type": "PaymentProcessed", "ce-id": f"payment-{message_id}"}
    attributes_of_message = {"publishTime": "2025-11-26T12:00:01.123Z", "attributes": attributes}
    return envelopes.pubsub_push(envelopes.pubsub_message(message_id, data, **attributes_of_message))


def deliver(function, data: bytes, message_id: str = "1") -> int:
    headers = HEADERS | {"ce-id": message_id}
    return function.post("/", data=json.dumps(message(data, message_id)), headers=headers).status_code


def test_a_message_is_stored_with_its_payload_unchanged(function, pool):
    payload = b'{"order_id": "ORD-1", "amount": 999.90}'

    assert deliver(function, payload) == 200
    event = PostgresReader(pool).event(("gcp", envelopes.PUBSUB_PRODUCER, "payment-1"))
    assert event is not None
    assert (event.type, bytes(event.data), event.producer) == ("PaymentProcessed", payload, envelopes.PUBSUB_PRODUCER)


def test_a_message_delivered_again_is_acknowledged_and_stored_once(function, pool):
    assert [deliver(function, b"{}"), deliver(function, b"{}")] == [200, 200]
    assert len(PostgresReader(pool).events(EventFilter(), after=None, limit=10).items) == 1


def test_an_instance_serves_once_it_reaches_the_database(monkeypatch):
    """On Cloud Run, a new instance has no route at first. The framework listens after the import of the function."""
    port = free_port()

    def serve() -> None:
        with socket.create_server((HOST, port)) as server:
            server.accept()[0].close()

    listening = Timer(1, serve)
    monkeypatch.setenv("K_SERVICE", "helios-ingest")
    monkeypatch.setenv("HELIOS_DATABASE_URL", f"postgresql://helios@{HOST}:{port}/helios")
    started = time.monotonic()
    listening.start()
    functions_framework.create_app("ingest", str(MAIN), "cloudevent")
    assert time.monotonic() - started > 0.9
    listening.join()


def test_messages_at_the_same_time_are_stored_in_few_transactions(function, pool):
    """Pub/Sub pushes one message per request. Batching combines the requests of 20 threads."""
    app = function.application
    with ThreadPoolExecutor(20) as threads:
        statuses = threads.map(lambda number: deliver(app.test_client(), b"{}", f"m{number}"), range(200))
        assert set(statuses) == {200}
    with pool.connection() as connection:
        events, frames = connection.execute("SELECT (SELECT count(*) FROM events), count(*) FROM frames").fetchone()
    assert events == 200
    assert frames < events


def test_poison_becomes_an_acknowledged_dead_letter(function, pool):
    """A 4xx would make Pub/Sub redeliver it without end."""
    assert deliver(function, b"{") == 200
    dead_letters = PostgresReader(pool).dead_letters(DeadLetterFilter(), after=None, limit=10).items
    assert [(stored.dead_letter.field, stored.dead_letter.source) for stored in dead_letters] == [
        ("message.data", "gcp")
    ]


def test_without_a_database_the_message_is_not_acknowledged(function, pool, postgres_server):
    postgres_server.stop()
    try:
        assert deliver(function, b"{}") == 500
    finally:
        postgres_server.start()
    eventually(lambda: deliver(function, b"{}") == 200)


def test_a_call_of_the_scheduler_runs_the_sweep(pool, database_url, monkeypatch):
    monkeypatch.setenv("HELIOS_DATABASE_URL", database_url)
    with pool.connection() as connection:
        connection.execute(
            "INSERT INTO frames (created_at, body, keys) VALUES (now() - interval '2 hours', '{}', '[]')"
        )
    approve(pool)
    client = functions_framework.create_app("sweep", str(MAIN), "http").test_client()

    assert client.post("/").status_code == 204
    assert recomputing(pool) == ["order"]  # for a process that also reads archived events
    with pool.connection() as connection:
        assert connection.execute("SELECT count(*) FROM frames").fetchone() == (0,)
