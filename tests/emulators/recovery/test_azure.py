"""A leg brought back from Event Grid's dead-letter blobs, on the emulators of Event Grid and of Azure's storage."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient, ContainerSasPermissions, generate_container_sas
from msgspec.structs import replace

from helios.adapters.recovery.registry import places_of
from helios.model.events import Delivery
from helios.settings import Settings
from local.servers.azurite import ACCOUNT
from local.servers.azurite import KEY as ACCOUNT_KEY
from tests.emulators.eventgrid.emulated import Emulated
from tests.emulators.eventgrid.events import cloud_event, grid_event
from tests.emulators.eventgrid.receiver import Answer, Receiver
from tests.support.instances import leg
from tests.support.recovering import Recovering
from tests.support.waiting import eventually

COMPLETE = {"matched", "matched_late"}


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    emulated = Emulated(tmp_path_factory.mktemp("eventgrid"))
    emulated.start()
    yield emulated
    emulated.process.stop()


@pytest.fixture
def container(azurite) -> Iterator[ContainerClient]:
    """An empty container of dead letters."""
    with BlobServiceClient.from_connection_string(azurite.connection_string) as blobs:
        container = blobs.create_container(f"dead-{uuid.uuid4().hex[:8]}")
        yield container
        container.delete_container()


@pytest.fixture
def recovering(pool, postgres_store, container):
    """Makes recoveries that search the container, with a signature for it or another one."""

    def make(name: str = "") -> Recovering:
        sas = generate_container_sas(
            ACCOUNT,
            name or container.container_name,
            account_key=ACCOUNT_KEY,
            permission=ContainerSasPermissions(read=True, list=True),
            expiry=datetime.now(UTC) + timedelta(hours=1),
        )
        settings = Settings(
            database_url="postgresql://nowhere",
            recovery_places=f"azure-dead-letters={container.url}",
            recovery_azure_secret=sas,
        )
        return Recovering(pool, places_of(settings), now=datetime.now(UTC) + timedelta(hours=1))

    return make


def dead_letters(grid: Emulated, container: ContainerClient, schema: str, *events: Any) -> list[Any]:
    """Publish events that the subscriber refuses, put their dead letters into the account, and return what it got."""
    topic = grid.topic(schema)
    with Receiver() as receiver:
        receiver.notification = lambda _request: Answer(400)
        blob = {"endpointType": "StorageBlob", "properties": {"blobContainerName": topic}}
        grid.subscribe(topic, receiver.url, deadLetterDestination=blob, eventDeliverySchema=schema)
        grid.publish(topic, *events)
        grid.wait_counts(topic, lambda counts: counts["deadLettered"] == len(events))
        bodies = [request.json for request in receiver.notifications]
    folder = grid.folder / "data" / "dead-letters" / topic
    for file in folder.rglob("*.json"):
        container.upload_blob(str(file.relative_to(folder)), file.read_bytes())
    return [event for body in bodies for event in (body if isinstance(body, list) else [body])]


def data(key: str) -> dict[str, Any]:
    """The payload of a reservation."""
    return {"order_id": key, "quantity": 2}


def receive(helios: Recovering, *keys: str) -> None:
    """The other legs of these orders arrive now."""
    now = datetime.now(UTC)
    legs = [leg(name, key) for key in keys for name in ("order", "payment")]
    helios.receive(*(replace(each, received_at=now) for each in legs))


def run(helios: Recovering) -> None:
    """Work on the recoveries until all have ended."""
    eventually(lambda: helios.run(seconds=0.5) > 0, seconds=60)


@pytest.mark.parametrize(("schema", "event"), [("EventGridSchema", grid_event), ("CloudEventSchemaV1_0", cloud_event)])
def test_a_dead_letter_comes_back_alone_as_the_event_that_it_was(grid, container, recovering, schema, event):
    events = event("1", data=data("ORD-1")), event("2", data=data("ORD-2"))
    refused = dead_letters(grid, container, schema, *events)
    blobs = {blob.name: blob.etag for blob in container.list_blobs()}
    helios = recovering()
    receive(helios, "ORD-1", "ORD-2")
    helios.request("ORD-1", "inventory")
    run(helios)

    recovery = helios.last("ORD-1")
    assert (recovery.state, recovery.finding) == ("recovered", "not_delivered")
    assert recovery.found_in == f"the dead letters in {container.url}"
    assert helios.instance("ORD-1").status in COMPLETE
    assert helios.instance("ORD-2").status == "incomplete"
    assert {blob.name: blob.etag for blob in container.list_blobs()} == blobs

    (original,) = [event for event in refused if event["id"] == "1"]
    body = msgspec.json.encode(original)
    (outcome,) = helios.ingest([Delivery(channel="eventgrid", body=body, received_at=datetime.now(UTC))])
    assert outcome.status == "duplicate"


def test_blobs_without_the_event_and_other_files_leave_the_reason_unknown(grid, container, recovering):
    dead_letters(grid, container, "EventGridSchema", grid_event("2", data=data("ORD-2")))
    container.upload_blob("note.txt", b"not a dead letter")
    helios = recovering()
    receive(helios, "ORD-1")
    helios.request("ORD-1", "inventory")
    run(helios)
    assert (helios.last("ORD-1").state, helios.last("ORD-1").finding) == ("not_found", "unknown")
    assert "Event Grid stores no event that it has delivered" in helios.diagnosis(leg="inventory").detail


def test_a_signature_for_another_container_is_refused(recovering):
    helios = recovering("another")
    receive(helios, "ORD-1")
    helios.request("ORD-1", "inventory")
    run(helios)
    assert "can't be searched: Azure Storage refuses: " in helios.last("ORD-1").detail
