"""Events that the emulators accept and can't deliver: they become dead letters, and no other event is touched."""

import json
from base64 import b64decode

import pytest
from azure.core.credentials import AzureSasCredential
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import ContainerClient
from google.pubsub_v1 import types

from local.emulators.eventgrid import client as event_grid
from local.emulators.undeliverable import is_undeliverable
from tests.emulators.eventgrid.emulated import KEY, Emulated
from tests.emulators.eventgrid.events import grid_event
from tests.emulators.eventgrid.receiver import Receiver as Webhook
from tests.emulators.pubsub.emulators import Helios as PubSub
from tests.emulators.pubsub.receiver import Receiver as PushEndpoint
from tests.emulators.pubsub.test_conformance import Queue
from tests.support.waiting import eventually

MARK = "undelivered"


@pytest.mark.parametrize(
    ("data", "field", "expected"),
    [
        (b'{"undelivered": true}', MARK, True),
        (b'{"undelivered": false}', MARK, False),
        (b'{"order_id": "undelivered"}', MARK, False),
        (b'["undelivered"]', MARK, False),
        (b"undelivered", MARK, False),
        (b'{"undelivered": true}', "", False),
    ],
)
def test_the_mark_is_a_field_with_the_value_true(data, field, expected):
    assert is_undeliverable(data, field) is expected


def test_event_grid_stores_them_as_dead_letters_which_the_vendor_s_client_reads(tmp_path):
    grid = Emulated(tmp_path, "--undeliverable", MARK)
    grid.start()
    try:
        with Webhook() as webhook:
            _read_dead_letters(grid, webhook)
    finally:
        grid.process.stop()


def _read_dead_letters(grid: Emulated, webhook: Webhook) -> None:
    topic = grid.topic()
    blob = {"blobContainerName": f"{topic}-dead-letters"}
    grid.subscribe(
        topic,
        webhook.url,
        deadLetterDestination={"endpointType": "StorageBlob", "properties": blob},
        webhook={"maxEventsPerBatch": 10},
    )
    events = [grid_event(f"{number}", data={MARK: number % 3 == 0}) for number in range(6)]
    grid.publish(topic, *events)
    counts = grid.wait_counts(topic, lambda counts: counts["deadLettered"] + counts["delivered"] == 6)
    assert (counts["deadLettered"], counts["delivered"]) == (2, 4)

    url = event_grid.dead_letters_url(grid.url, topic)
    credential = AzureSasCredential(event_grid.dead_letters_signature(KEY))
    with ContainerClient.from_container_url(url, credential=credential) as container:
        pages = list(container.list_blobs(results_per_page=1).by_page())
        names = [blob.name for page in pages for blob in page]
        contents = [json.loads(container.download_blob(name).readall()) for name in names]
    assert {dead_letter["id"] for content in contents for dead_letter in content} == {"0", "3"}
    assert len(names) == len(set(names))

    wrong = AzureSasCredential("sig=wrong")
    with ContainerClient.from_container_url(url, credential=wrong) as container, pytest.raises(HttpResponseError) as no:
        list(container.list_blobs())
    assert no.value.status_code == 403


def test_pubsub_forwards_them_to_the_dead_letter_topic(tmp_path):
    pubsub = PubSub(tmp_path)
    pubsub.options = ("--undeliverable", MARK)
    pubsub.start()
    try:
        with PushEndpoint() as endpoint:
            _forward(pubsub, endpoint)
    finally:
        pubsub.close()


def _forward(pubsub: PubSub, endpoint: PushEndpoint) -> None:
    dead = Queue(pubsub, "shop-dead")
    policy = types.DeadLetterPolicy(dead_letter_topic=dead.topic, max_delivery_attempts=5)
    push = types.PushConfig(push_endpoint=endpoint.url)
    orders = Queue(pubsub, "shop", push_config=push, dead_letter_policy=policy)
    marked = b'{"undelivered": true}'
    orders.publish(marked)
    orders.publish(b"{}")

    (dead_letter,) = dead.pull_all(1)
    assert dead_letter.message.data == marked
    eventually(lambda: len(endpoint.received) == 1)
    assert b64decode(json.loads(endpoint.received[0].body)["message"]["data"]) == b"{}"
