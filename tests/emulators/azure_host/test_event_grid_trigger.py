"""The Event Grid webhook of the host, alone and behind the Event Grid emulator."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.core.credentials import AzureKeyCredential
from azure.eventgrid import EventGridEvent, EventGridPublisherClient

from local.emulators.eventgrid import client
from tests.emulators.azure_host.hosted import EVENT_GRID, MASTER, Hosted, grid_event
from tests.emulators.eventgrid.emulated import KEY, Emulated
from tests.support.envelopes import cloudevent, eventgrid_validation

URL = "/runtime/webhooks/EventGrid"
VALIDATION = eventgrid_validation("abc")


def test_an_event_reaches_the_function_as_an_event_grid_event(host: Hosted):
    assert host.notify(grid_event("arrives", order_id="ORD-1")).status == 202
    (record,) = [record for record in host.records() if record.get("id") == "arrives"]
    assert (record["type"], record["topic"], record["data"]) == (
        "InventoryReserved",
        "/topics/helios",
        {"order_id": "ORD-1"},
    )


def test_a_cloud_event_reaches_the_function_as_a_cloud_event(host: Hosted):
    event = cloudevent("cloudy", source="/s")
    path = host.event_grid_url("cloud").removeprefix(host.url)
    assert host.call("POST", path, event, aeg_event_type="Notification").status == 202
    (record,) = [record for record in host.records() if record.get("id") == "cloudy"]
    assert (record["source"], record["function"]) == ("/s", "cloud")
    assert record["invocation"]


def test_the_events_of_a_batch_are_invocations_that_run_in_parallel(host: Hosted):
    """The function waits until four of its invocations run: the thread pool of this host has four threads."""
    assert host.notify(*(grid_event(f"side-{number}", meet=True) for number in range(4))).status == 202
    assert sum(str(record.get("id")).startswith("side-") for record in host.records()) == 4


def test_one_failed_invocation_fails_the_batch_although_the_others_ran(host: Hosted):
    answer = host.notify(grid_event("good"), grid_event("bad", fail=True))
    assert (answer.status, answer.body) == (500, "Exception while executing function: Functions.inventory")
    assert [record["id"] for record in host.records() if record.get("id") in ("good", "bad")] == ["good"]


def test_the_host_answers_the_validation_event(host: Hosted):
    answer = host.call(
        "POST", host.event_grid_url().removeprefix(host.url), VALIDATION, aeg_event_type="SubscriptionValidation"
    )
    assert (answer.status, json.loads(answer.body)) == (200, {"validationResponse": "abc"})


def test_the_host_answers_options(host: Hosted):
    answer = host.call(
        "OPTIONS", host.event_grid_url().removeprefix(host.url), webhook_request_origin="eventgrid.azure.net"
    )
    assert (answer.status, answer.headers["webhook-allowed-origin"]) == (200, "eventgrid.azure.net")


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        (f"functionName=inventory&code={EVENT_GRID}", {}, 202),
        (f"functionName=inventory&code={MASTER}", {}, 202),
        ("functionName=inventory", {"x_functions_key": EVENT_GRID}, 202),
        ("functionName=inventory", {}, 401),
        ("functionName=inventory&code=wrong", {}, 401),
        ("functionName=inventory&code=default-key", {}, 401),
        (f"functionName=nobody&code={EVENT_GRID}", {}, 404),
        (f"functionName=order&code={EVENT_GRID}", {}, 404),
        (f"code={EVENT_GRID}", {}, 404),
    ],
)
def test_the_status_depends_on_the_key_and_the_function_s_name(
    host: Hosted, query: str, headers: dict[str, str], status: int
):
    answer = host.call("POST", f"{URL}?{query}", [], aeg_event_type="Notification", **headers)
    assert answer.status == status


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"[]", "", 400),
        (b"[]", "Unknown", 400),
        (b"[]", "Unsubscribe", 202),
        (b"{", "Notification", 500),
        (b"7", "Notification", 500),
        (b"\xff", "Notification", 500),
        (b"[]", "SubscriptionValidation", 500),
    ],
)
def test_the_status_depends_on_the_body_and_the_event_type(host: Hosted, body: bytes, kind: str, status: int):
    path = host.event_grid_url().removeprefix(host.url)
    assert host.call("POST", path, body, aeg_event_type=kind).status == status


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[Emulated]:
    """An Event Grid emulator for one test."""
    emulated = Emulated(tmp_path)
    emulated.start()
    yield emulated
    emulated.process.stop()


def publish(endpoint: str, *events: EventGridEvent) -> None:
    with EventGridPublisherClient(endpoint, AzureKeyCredential(KEY)) as publisher:
        publisher.send(list(events))


def event(id_: str) -> EventGridEvent:
    return EventGridEvent(id=id_, event_type="InventoryReserved", subject="s", data={}, data_version="1.0")


def test_events_of_the_vendor_s_client_reach_the_function(host: Hosted, grid: Emulated):
    endpoint = client.ensure(
        grid.url,
        topic="helios-events",
        key=KEY,
        subscription="helios",
        endpoint_url=host.event_grid_url(),
        max_events_per_batch=10,
    )
    publish(endpoint, *(event(f"whole-{number}") for number in range(50)))
    records = host.wait_records(
        lambda records: sum(str(record.get("id")).startswith("whole-") for record in records) == 50
    )
    assert len({record["id"] for record in records if str(record.get("id")).startswith("whole-")}) == 50


def test_events_published_while_the_host_is_down_are_delivered_when_it_is_back(grid: Emulated, tmp_path: Path):
    hosted = Hosted(tmp_path)
    hosted.start()
    endpoint = client.ensure(
        grid.url, topic="helios-events", key=KEY, subscription="helios", endpoint_url=hosted.event_grid_url()
    )
    hosted.process.kill()
    publish(endpoint, *(event(str(number)) for number in range(10)))
    grid.wait_counts("helios-events", lambda counts: counts["retries"] >= 10)
    hosted.start()
    records = hosted.wait_records(lambda records: len(records) >= 10)
    hosted.process.stop()
    assert sorted(int(record["id"]) for record in records) == list(range(10))


def test_a_wrong_system_key_fails_the_handshake(host: Hosted, grid: Emulated):
    with pytest.raises(client.SetupFailed, match="it answered 401"):
        client.ensure(
            grid.url,
            topic="helios-events",
            key=KEY,
            subscription="helios",
            endpoint_url=host.event_grid_url(key="wrong"),
        )
