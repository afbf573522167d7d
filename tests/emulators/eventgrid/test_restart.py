"""The emulator may be killed at any moment: its next process delivers the events that it acknowledged."""

import itertools
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.core.exceptions import AzureError

from local.emulators.eventgrid import client
from tests.emulators.eventgrid.emulated import KEY, Emulated
from tests.emulators.eventgrid.events import grid_event
from tests.emulators.eventgrid.receiver import Answer, Receiver


@pytest.fixture
def killable(tmp_path: Path) -> Iterator[Emulated]:
    """An emulator for one test, which the test may kill."""
    emulated = Emulated(tmp_path)
    emulated.start()
    yield emulated
    emulated.process.stop()


def test_acknowledged_events_survive_kill_9(killable: Emulated, receiver: Receiver):
    up = threading.Event()
    receiver.notification = lambda _request: Answer(200 if up.is_set() else 503)
    topic = killable.topic()
    killable.subscribe(topic, receiver.url, webhook={"maxEventsPerBatch": 7})
    for first in range(0, 100, 20):
        killable.publish(topic, *(grid_event(str(number)) for number in range(first, first + 20)))
    killable.process.kill()
    up.set()
    killable.start()
    counts = killable.wait_counts(topic, lambda counts: counts["delivered"] == 100)
    assert (counts["recovered"], counts["pending"]) == (100, 0)
    assert "an earlier process left undelivered events" in killable.log.read_text()


def test_delivered_events_are_not_delivered_again_after_a_restart(killable: Emulated, receiver: Receiver):
    topic = killable.topic()
    killable.subscribe(topic, receiver.url)
    killable.publish(topic, grid_event("before"))
    killable.wait_counts(topic, lambda counts: counts["delivered"] == 1)
    killable.process.kill()
    killable.start()
    killable.publish(topic, grid_event("after"))
    assert receiver.wait_ids(2) == ["before", "after"]


def test_topics_keys_and_subscriptions_survive_a_restart(killable: Emulated, receiver: Receiver):
    topic = killable.topic()
    before = killable.subscribe(topic, f"{receiver.url}?code=1", filter={"subjectBeginsWith": "orders/"})
    killable.process.stop()
    killable.start()
    assert killable.subscription(topic) == before
    assert client.call(killable.url, "POST", f"/topics/{topic}/listKeys")["key1"] == KEY


def test_a_deleted_subscription_gets_no_more_events(killable: Emulated, receiver: Receiver):
    topic = killable.topic()
    killable.subscribe(topic, receiver.url)
    client.call(killable.url, "DELETE", f"/topics/{topic}/eventSubscriptions/helios")
    killable.publish(topic, grid_event("while deleted"))
    killable.subscribe(topic, receiver.url)
    killable.publish(topic, grid_event("after"))
    assert receiver.wait_ids(1) == ["after"]


def test_ensure_is_idempotent(killable: Emulated, receiver: Receiver):
    def ensure() -> str:
        return client.ensure(
            killable.url,
            topic="helios-events",
            key=KEY,
            subscription="helios",
            endpoint_url=receiver.url,
            max_events_per_batch=10,
            dead_letter_container="dead",
        )

    def keys() -> object:
        return client.call(killable.url, "POST", "/topics/helios-events/listKeys")

    first, first_keys = ensure(), keys()
    assert (ensure(), keys()) == (first, first_keys)
    assert first == killable.endpoint("helios-events")
    killable.publish("helios-events", grid_event())
    assert receiver.wait_ids(1) == ["1"]


def test_only_the_owner_may_read_the_file_with_the_keys(killable: Emulated):
    killable.topic()
    assert (killable.folder / "data" / "topics.json").stat().st_mode & 0o077 == 0


def test_a_change_without_consent_loses_no_event(killable: Emulated, receiver: Receiver):
    """The subscription stays unchanged, also in the next process, which discards the change."""
    up = threading.Event()
    receiver.notification = lambda _request: Answer(200 if up.is_set() else 503)
    topic = killable.topic()
    before = killable.subscribe(topic, receiver.url)
    receiver.handshake = lambda _request: Answer(body=b"let me think about it")
    requested = killable.subscribe(topic, receiver.url, filter={"subjectBeginsWith": "nothing"})
    killable.publish(topic, grid_event("1"), grid_event("2"))
    states = requested["properties"]["provisioningState"], killable.subscription(topic)
    killable.process.kill()
    up.set()
    killable.start()

    counts = killable.wait_counts(topic, lambda counts: counts["delivered"] == 2)
    assert states == ("AwaitingManualAction", before)
    assert (counts["recovered"], killable.subscription(topic)) == (2, before)


def test_events_for_an_endpoint_without_consent_are_reported_and_delivered_after_consent(
    killable: Emulated, receiver: Receiver
):
    """The state is the one that an older version of the emulator wrote."""
    receiver.notification = lambda _request: Answer(503)
    topic = killable.topic()
    killable.subscribe(topic, receiver.url)
    killable.publish(topic, grid_event("1"), grid_event("2"))
    killable.process.kill()
    topics = killable.folder / "data" / "topics.json"
    topics.write_text(topics.read_text().replace("Succeeded", "AwaitingManualAction"))
    killable.start()
    counts = killable.counts(topic)
    assert (counts["provisioningState"], counts["pending"]) == ("Failed", 2)
    (warning,) = (line for line in killable.log.read_text().splitlines() if "has not consented" in line)
    assert json.loads(warning)["events"] == 2

    receiver.notification = lambda _request: Answer(200)
    killable.subscribe(topic, receiver.url)
    counts = killable.wait_counts(topic, lambda counts: counts.get("delivered") == 2)
    assert (counts["recovered"], counts["pending"]) == (2, 0)


def test_repeated_kills_during_traffic_lose_no_acknowledged_event(killable: Emulated, receiver: Receiver):
    """Acknowledged events are delivered; the others may be delivered, as with Azure."""
    topic = killable.topic()
    killable.subscribe(topic, receiver.url, webhook={"maxEventsPerBatch": 10})
    acknowledged: list[str] = []
    enough = threading.Event()

    def publish() -> None:
        with killable.publisher(topic) as publisher:
            for number in itertools.count():
                if enough.is_set():
                    return
                try:
                    publisher.send(grid_event(str(number)), retry_total=0)
                except AzureError:
                    time.sleep(0.02)  # the emulator is restarting
                else:
                    acknowledged.append(str(number))

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        for kill in range(3):
            receiver.wait((kill + 1) * 20)
            killable.process.kill()
            killable.start()
    finally:
        enough.set()
        thread.join()
    killable.wait_counts(topic, lambda counts: counts["pending"] == 0)
    assert set(acknowledged) <= set(receiver.ids)
