"""The Azure function app, served by the local host, with requests of Event Grid."""

import http.client
import json
import sys
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

import pytest

from helios.adapters.postgres.reader import PostgresReader
from helios.model.dead_letters import DeadLetterFilter
from helios.model.events import EventFilter
from helios.processes.ports import HOST, free_port
from helios.processes.probes import answers
from helios.processes.process import Process, scrubbed_environment
from tests.functions.conftest import AZURE_HOST_KEYS
from tests.support import envelopes
from tests.support.flow_versions import approve, recomputing
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
WEBHOOK = "/runtime/webhooks/EventGrid?" + urlencode({"functionName": "ingest", "code": "event_grid"})


def post(port: int, body: object, path: str = WEBHOOK, **headers: str) -> int:
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json", **headers})
    status = connection.getresponse().status
    connection.close()
    return status


def deliver(port: int, *events: dict) -> int:
    return post(port, list(events), **{"aeg-event-type": "Notification"})


def reserved(id_: str, **data: object) -> dict:
    """An event in Event Grid's schema."""
    payload = {"order_id": f"ORD-{id_}", "quantity": 2} | data
    return envelopes.eventgrid_event(id_, eventTime="2025-11-26T12:00:02.1234567Z", data=payload)


def cloud_event(id_: str) -> dict:
    attributes = {"source": "/subscriptions/s", "type": "InventoryReserved", "time": "2025-11-26T12:00:02Z"}
    return envelopes.cloudevent(id_, data={"order_id": f"ORD-{id_}"}, **attributes)


def test_an_array_is_stored_in_few_transactions(host, pool):
    """The host calls once per event. Batching combines the calls into one transaction or a few."""
    assert deliver(host, *(reserved(str(number)) for number in range(50))) == 202
    with pool.connection() as connection:
        events, frames = connection.execute("SELECT (SELECT count(*) FROM events), count(*) FROM frames").fetchone()
    assert events == 50
    assert frames <= 3


def test_events_of_the_queue_are_stored_in_few_transactions(host, queue, pool):
    """Event Grid puts one event into a message. The host takes many at a time, and batching combines their events."""
    bodies = [json.dumps(reserved(str(number))).encode() for number in range(100)]
    with ThreadPoolExecutor(10) as threads:
        list(threads.map(queue.send_message, bodies))

    def counts() -> tuple[int, int]:
        with pool.connection() as connection:
            return connection.execute("SELECT (SELECT count(*) FROM events), count(*) FROM frames").fetchone()

    eventually(lambda: counts()[0] == 100)
    assert counts()[1] <= 50
    eventually(lambda: queue.get_queue_properties().approximate_message_count == 0)


def test_an_event_of_the_queue_is_the_event_that_event_grid_delivers(host, queue, pool):
    """Switching the subscription from one to the other makes no second event.

    Python's worker cuts off the seventh digit of a time, while Helios rounds to six: the event has fewer.
    """
    event = reserved("1") | {"eventTime": "2025-11-26T12:00:02.123Z"}
    assert deliver(host, event) == 202
    queue.send_message(json.dumps(event).encode())
    queue.send_message(json.dumps(reserved("2")).encode())

    eventually(lambda: len(PostgresReader(pool).events(EventFilter(), after=None, limit=10).items) == 2)
    eventually(lambda: queue.get_queue_properties().approximate_message_count == 0)
    dead_letters = PostgresReader(pool).dead_letters(DeadLetterFilter(), after=None, limit=10).items
    assert [(stored.dead_letter.field, stored.dead_letter.reason) for stored in dead_letters] == []


def test_both_schemas_become_events(host, pool):
    assert [deliver(host, reserved("1")), deliver(host, cloud_event("2"))] == [202, 202]
    events = {event.id: event for event in PostgresReader(pool).events(EventFilter(), after=None, limit=10).items}

    assert {(event.id, event.type, event.order_id) for event in events.values()} == {
        ("1", "InventoryReserved", "ORD-1"),
        ("2", "InventoryReserved", "ORD-2"),
    }
    assert events["1"].producer == envelopes.EVENTGRID_PRODUCER


@pytest.mark.parametrize(
    "note", ["\0", "\ud800", 1e999, float("nan")], ids=["NUL", "half a surrogate pair", "infinite", "NaN"]
)
def test_poison_becomes_an_acknowledged_dead_letter(host, pool, note):
    assert deliver(host, reserved("1", note=note), reserved("2")) == 202
    dead_letters = PostgresReader(pool).dead_letters(DeadLetterFilter(), after=None, limit=10).items

    faults = [(stored.dead_letter.source, stored.dead_letter.field) for stored in dead_letters]
    assert faults == [("azure", "data.note")]
    assert PostgresReader(pool).event(("azure", envelopes.EVENTGRID_PRODUCER, "2")) is not None


def test_a_rejected_event_of_the_queue_is_a_dead_letter_and_a_line_in_the_log(host, queue, pool, server_folder):
    """The alarm "rejected" counts these lines."""
    queue.send_message(b"no JSON")

    def dead_letters() -> list:
        return PostgresReader(pool).dead_letters(DeadLetterFilter(), after=None, limit=10).items

    eventually(lambda: [stored.dead_letter.source for stored in dead_letters()] == ["azure"])
    eventually(lambda: queue.get_queue_properties().approximate_message_count == 0)
    lines = [
        json.loads(line) for line in (server_folder / "azure-function.log").read_text().splitlines() if "{" in line
    ]
    rejected = [line for line in lines if line["message"] == "rejected"]
    assert rejected[-1]["field"] == "body"


def test_binary_data_and_extensions_of_a_cloudevent_are_accepted(host, pool):
    """The host's library has no field for either."""
    event = cloud_event("1") | {"data_base64": b64encode(b'{"order_id": "ORD-1"}').decode(), "traceparent": "00-1"}
    del event["data"]
    assert deliver(host, event | {"datacontenttype": "application/json"}) == 202
    stored = PostgresReader(pool).event(("azure", "/subscriptions/s", "1"))

    assert stored
    assert (stored.order_id, json.loads(bytes(stored.data))) == ("ORD-1", {"order_id": "ORD-1"})


def test_a_number_of_any_size_is_stored_unchanged(host, pool):
    assert deliver(host, reserved("1", serial=2**70)) == 202
    stored = PostgresReader(pool).event(("azure", envelopes.EVENTGRID_PRODUCER, "1"))

    assert stored
    assert json.loads(bytes(stored.data))["serial"] == 2**70


def test_without_a_database_event_grid_is_answered_500(host, pool, postgres_server):
    postgres_server.stop()
    try:
        assert deliver(host, reserved("1")) == 500
    finally:
        postgres_server.start()
    eventually(lambda: deliver(host, reserved("1")) == 202)
    assert PostgresReader(pool).event(("azure", envelopes.EVENTGRID_PRODUCER, "1")) is not None


def test_the_timer_runs_the_sweep(host, pool):
    approve(pool)
    with pool.connection() as connection:
        connection.execute(
            "INSERT INTO frames (created_at, body, keys) VALUES (now() - interval '2 hours', '{}', '[]')"
        )

    def is_swept() -> bool:
        with pool.connection() as connection:
            return connection.execute("SELECT count(*) FROM frames").fetchone() == (0,)

    assert post(host, {"input": ""}, "/admin/functions/sweep", **{"x-functions-key": "master"}) == 202
    eventually(is_swept)
    assert recomputing(pool) == ["order"]  # for a process that also reads archived events


def test_the_app_starts_while_the_key_vault_is_unreadable(server_folder):
    """Azure then passes the reference instead of the secret. Event Grid must redeliver the events."""
    port = free_port()
    unresolved = {f"HELIOS_{name}_URL": "@Microsoft.KeyVault(SecretUri=https://none)" for name in ("DATABASE", "REDIS")}
    with Process(
        "azure-function-without-secrets",
        [sys.executable, "-m", "local.emulators.azure_host", ROOT / "functions" / "azure", "--port", str(port)],
        log=server_folder / "azure-function-without-secrets.log",
        env=scrubbed_environment(**unresolved, **AZURE_HOST_KEYS),
        cwd=ROOT,
    ) as process:
        process.wait_ready(answers(f"http://{HOST}:{port}/admin/host/ping"), seconds=30)
        assert deliver(port, reserved("1")) == 500
