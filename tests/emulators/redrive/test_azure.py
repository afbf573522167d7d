"""The redrive of Event Grid's dead letters, on the emulators of Event Grid and of Azure's storage."""

import base64
import json
from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any

import pytest

from helios.errors import Rejected
from scripts.redrive import azure, run
from tests.emulators.eventgrid.emulated import KEY, Emulated
from tests.emulators.eventgrid.events import cloud_event, grid_event
from tests.emulators.eventgrid.receiver import Answer, Receiver
from tests.support import envelopes

CONTAINER = "dead-letters"


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    emulated = Emulated(tmp_path_factory.mktemp("eventgrid"))
    emulated.start()
    yield emulated
    emulated.process.stop()


@pytest.fixture
def storage(azurite) -> Iterator[azure.Storage]:
    """The account with an empty container of dead letters and two empty queues."""
    with azure.Storage.open(account=None, connection=azurite.connection_string) as storage:
        storage.blobs.create_container(CONTAINER)
        for name in ("events", "events-poison"):
            storage.queues.create_queue(name)
        yield storage
        storage.blobs.delete_container(CONTAINER)
        for name in ("events", "events-poison"):
            storage.queues.delete_queue(name)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """An endpoint that consents to the handshake and refuses every event for good, until a test changes that."""
    with Receiver() as receiver:
        receiver.notification = lambda _request: Answer(400)
        yield receiver


@pytest.fixture
def upload(grid, storage) -> Callable[[str], list[dict[str, Any]]]:
    """Puts the dead letters of one container where Event Grid writes them: into the account. Returns them."""

    def put(container: str) -> list[dict[str, Any]]:
        folder = grid.folder / "data" / "dead-letters" / container
        for file in folder.rglob("*.json"):
            blob = storage.blobs.get_blob_client(CONTAINER, str(file.relative_to(folder)))
            blob.upload_blob(file.read_bytes())
        return grid.dead_letters(container)

    return put


def subscribe(grid: Emulated, receiver: Receiver, topic: str, schema: str) -> str:
    """The container of the dead letters of a new subscription."""
    blob = {"endpointType": "StorageBlob", "properties": {"blobContainerName": topic}}
    grid.subscribe(topic, receiver.url, deadLetterDestination=blob, eventDeliverySchema=schema)
    return topic


def sent(receiver: Receiver) -> list[dict[str, Any]]:
    """The events that were sent to the endpoint."""
    bodies = [request.json for request in receiver.notifications]
    return [event for body in bodies for event in (body if isinstance(body, list) else [body])]


@pytest.mark.parametrize(
    ("schema", "event"),
    [("EventGridSchema", grid_event), ("CloudEventSchemaV1_0", cloud_event)],
)
def test_a_dead_letter_is_delivered_as_it_was(grid, storage, receiver, upload, schema, event):
    topic = grid.topic(schema)
    container = subscribe(grid, receiver, topic, schema)
    grid.publish(topic, event("1"), event("2"))
    grid.wait_counts(topic, lambda counts: counts["deadLettered"] == 2)
    originals = sent(receiver)
    dead_letters = upload(container)
    assert {"deadLetterReason", "deadletterreason"} & {*dead_letters[0]}

    refused = len(originals)
    receiver.notification = lambda _request: Answer()
    assert azure.republish(storage, endpoint=grid.endpoint(topic), key=KEY, container=CONTAINER) == 2
    grid.wait_counts(topic, lambda counts: counts["delivered"] == 2)

    returned = sorted(sent(receiver)[refused:], key=itemgetter("id"))
    assert returned == sorted(originals, key=itemgetter("id"))[-2:]
    assert list(storage.blobs.get_container_client(CONTAINER).list_blob_names()) == []


def test_a_blob_that_event_grid_refuses_stays(grid, storage):
    blob = storage.blobs.get_blob_client(CONTAINER, "INGEST/2026/1/1/0/a.json")
    blob.upload_blob(b'[{"id": "1"}]')
    with pytest.raises(Rejected, match=r"azure: Event Grid refuses the blob INGEST/2026/1/1/0/a\.json: 400"):
        azure.republish(storage, endpoint=grid.endpoint(grid.topic()), key=KEY, container=CONTAINER)
    assert blob.exists()


def test_a_blob_that_is_no_list_stays(grid, storage):
    blob = storage.blobs.get_blob_client(CONTAINER, "note.txt")
    blob.upload_blob(b"not a dead letter")
    with pytest.raises(Rejected, match=r"azure: the blob note\.txt is not a list of events"):
        azure.republish(storage, endpoint=grid.endpoint(grid.topic()), key=KEY, container=CONTAINER)
    assert blob.exists()


def test_the_command_empties_both_places(grid, azurite, storage, monkeypatch, capsys):
    """Event Grid's blobs go to the topic, and the messages of the poison queue to the queue."""
    blob = storage.blobs.get_blob_client(CONTAINER, "INGEST/2026/1/1/0/a.json")
    event = envelopes.eventgrid_event("1")
    del event["topic"], event["metadataVersion"]
    blob.upload_blob(json.dumps([event | {"deadLetterReason": "MaxDeliveryAttemptsExceeded"}]))
    texts = [base64.b64encode(json.dumps({"id": str(number)}).encode()).decode() for number in range(40)]
    with storage.queues.get_queue_client("events-poison") as poison:
        for text in texts:
            poison.send_message(text)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string)
    monkeypatch.setenv("HELIOS_AZURE_EVENTGRID_KEY", KEY)
    endpoint = grid.endpoint(grid.topic())

    assert run.main(["azure", "--endpoint", endpoint]) == 0
    assert capsys.readouterr().out == (
        f"1 events of dead-letters published to {endpoint}, and 40 messages moved from events-poison to events\n"
    )
    with storage.queues.get_queue_client("events") as queue:
        assert sorted(message.content for message in queue.receive_messages(max_messages=40)) == sorted(texts)
    assert run.main(["azure", "--endpoint", endpoint]) == 0


def test_a_missing_container_is_one_sentence(grid, azurite, monkeypatch, capsys):
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string)
    monkeypatch.setenv("HELIOS_AZURE_EVENTGRID_KEY", KEY)
    assert run.main(["azure", "--endpoint", grid.endpoint(grid.topic()), "--container", "nothing"]) == 1
    assert capsys.readouterr().err == "redrive: azure: the container nothing does not exist\n"
