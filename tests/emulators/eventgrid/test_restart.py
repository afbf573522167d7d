"""The emulator may die at any moment: what it acknowledged is delivered by its next process."""

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
def mortal(tmp_path: Path) -> Iterator[Emulated]:
    """An emulator of one's own."""
    emulated = Emulated(tmp_path)
    emulated.start()
    yield emulated
    emulated.process.stop()


def test_what_was_acknowledged_survives_kill_9(mortal: Emulated, receiver: Receiver):
    up = threading.Event()
    receiver.notification = lambda _request: Answer(200 if up.is_set() else 503)
    topic = mortal.topic()
    mortal.subscribe(topic, receiver.url, webhook={"maxEventsPerBatch": 7})
    for first in range(0, 100, 20):
        mortal.publish(topic, *(grid_event(str(number)) for number in range(first, first + 20)))
    mortal.process.kill()
    up.set()
    mortal.start()
    counts = mortal.wait_counts(topic, lambda counts: counts["delivered"] == 100)
    assert (counts["recovered"], counts["pending"]) == (100, 0)
    assert "an earlier process left undelivered events" in mortal.log.read_text()


def test_what_was_delivered_is_not_delivered_again(mortal: Emulated, receiver: Receiver):
    topic = mortal.topic()
    mortal.subscribe(topic, receiver.url)
    mortal.publish(topic, grid_event("before"))
    mortal.wait_counts(topic, lambda counts: counts["delivered"] == 1)
    mortal.process.kill()
    mortal.start()
    mortal.publish(topic, grid_event("after"))
    assert receiver.wait_ids(2) == ["before", "after"]


def test_topics_keys_and_subscriptions_survive(mortal: Emulated, receiver: Receiver):
    topic = mortal.topic()
    before = mortal.subscribe(topic, f"{receiver.url}?code=1", filter={"subjectBeginsWith": "orders/"})
    mortal.process.stop()
    mortal.start()
    assert mortal.subscription(topic) == before
    assert client.call(mortal.url, "POST", f"/topics/{topic}/listKeys")["key1"] == KEY


def test_a_deleted_subscription_gets_nothing_more(mortal: Emulated, receiver: Receiver):
    topic = mortal.topic()
    mortal.subscribe(topic, receiver.url)
    client.call(mortal.url, "DELETE", f"/topics/{topic}/eventSubscriptions/helios")
    mortal.publish(topic, grid_event("unheard"))
    mortal.subscribe(topic, receiver.url)
    mortal.publish(topic, grid_event("heard"))
    assert receiver.wait_ids(1) == ["heard"]


def test_ensure_may_be_repeated(mortal: Emulated, receiver: Receiver):
    def ensure() -> str:
        return client.ensure(
            mortal.url,
            topic="helios-events",
            key=KEY,
            subscription="helios",
            endpoint_url=receiver.url,
            max_events_per_batch=10,
            dead_letter_container="dead",
        )

    def keys() -> object:
        return client.call(mortal.url, "POST", "/topics/helios-events/listKeys")

    first, kept = ensure(), keys()
    assert (ensure(), keys()) == (first, kept)
    assert first == mortal.endpoint("helios-events")
    mortal.publish("helios-events", grid_event())
    assert receiver.wait_ids(1) == ["1"]


def test_only_its_owner_may_read_the_keys(mortal: Emulated):
    mortal.topic()
    assert (mortal.folder / "data" / "topics.json").stat().st_mode & 0o077 == 0


def test_a_change_that_waits_for_consent_costs_no_event(mortal: Emulated, receiver: Receiver):
    """The subscription goes on as it was, also in the next process, which forgets the change."""
    up = threading.Event()
    receiver.notification = lambda _request: Answer(200 if up.is_set() else 503)
    topic = mortal.topic()
    before = mortal.subscribe(topic, receiver.url)
    receiver.handshake = lambda _request: Answer(body=b"let me think about it")
    asked = mortal.subscribe(topic, receiver.url, filter={"subjectBeginsWith": "nothing"})
    mortal.publish(topic, grid_event("1"), grid_event("2"))
    states = asked["properties"]["provisioningState"], mortal.subscription(topic)
    mortal.process.kill()
    up.set()
    mortal.start()

    counts = mortal.wait_counts(topic, lambda counts: counts["delivered"] == 2)
    assert states == ("AwaitingManualAction", before)
    assert (counts["recovered"], mortal.subscription(topic)) == (2, before)


def test_what_is_owed_to_an_endpoint_without_consent_is_told_and_delivered_once_it_consents(
    mortal: Emulated, receiver: Receiver
):
    """As an older version of the emulator left it."""
    receiver.notification = lambda _request: Answer(503)
    topic = mortal.topic()
    mortal.subscribe(topic, receiver.url)
    mortal.publish(topic, grid_event("1"), grid_event("2"))
    mortal.process.kill()
    kept = mortal.folder / "data" / "topics.json"
    kept.write_text(kept.read_text().replace("Succeeded", "AwaitingManualAction"))
    mortal.start()
    counts = mortal.counts(topic)
    assert (counts["provisioningState"], counts["pending"]) == ("Failed", 2)
    (told,) = (line for line in mortal.log.read_text().splitlines() if "has not consented" in line)
    assert json.loads(told)["events"] == 2

    receiver.notification = lambda _request: Answer(200)
    mortal.subscribe(topic, receiver.url)
    counts = mortal.wait_counts(topic, lambda counts: counts.get("delivered") == 2)
    assert (counts["recovered"], counts["pending"]) == (2, 0)


def test_killed_again_and_again_in_mid_traffic_it_loses_nothing_it_acknowledged(mortal: Emulated, receiver: Receiver):
    """What was acknowledged is delivered; what was not may be, as with Azure."""
    topic = mortal.topic()
    mortal.subscribe(topic, receiver.url, webhook={"maxEventsPerBatch": 10})
    acknowledged: list[str] = []
    enough = threading.Event()

    def publish() -> None:
        with mortal.publisher(topic) as publisher:
            for number in itertools.count():
                if enough.is_set():
                    return
                try:
                    publisher.send(grid_event(str(number)), retry_total=0)
                except AzureError:
                    time.sleep(0.02)  # it is being started again
                else:
                    acknowledged.append(str(number))

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        for kill in range(3):
            receiver.wait((kill + 1) * 20)
            mortal.process.kill()
            mortal.start()
    finally:
        enough.set()
        thread.join()
    mortal.wait_counts(topic, lambda counts: counts["pending"] == 0)
    assert set(acknowledged) <= set(receiver.ids)
