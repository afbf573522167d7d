"""Queue triggers, with messages in Azurite."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.storage.queue import BinaryBase64DecodePolicy, BinaryBase64EncodePolicy, QueueClient

from tests.emulators.azure_host.hosted import MASTER, Hosted, write_app
from tests.support.waiting import eventually

APP = """
import json, os

def record(**facts):
    with open(os.environ["RECORD"], "a", encoding="utf-8") as file:
        file.write(json.dumps(facts) + "\\n")

@app.queue_trigger(arg_name="message", queue_name="{queue}", connection="EventQueue")
async def take(message: func.QueueMessage) -> None:
    text = message.get_body().decode()
    record(text=text, attempt=message.dequeue_count)
    if text == "fails":
        raise RuntimeError("fails on purpose")
"""
HOST_JSON = {
    "version": "2.0",
    "extensions": {"queues": {"maxDequeueCount": 3, "visibilityTimeout": "00:00:00", "maxPollingInterval": "00:00:01"}},
}


class Queue:
    """A queue and its poison queue, as Event Grid writes them: in base64."""

    def __init__(self, connection: str) -> None:
        self.name = f"events-{uuid.uuid4().hex[:8]}"
        self.events, self.poison = (
            QueueClient.from_connection_string(
                connection,
                name,
                message_encode_policy=BinaryBase64EncodePolicy(),
                message_decode_policy=BinaryBase64DecodePolicy(),
            )
            for name in (self.name, f"{self.name}-poison")
        )
        self.events.create_queue()

    def count(self) -> int:
        return self.events.get_queue_properties().approximate_message_count or 0


@pytest.fixture
def queue(azurite) -> Iterator[Queue]:
    queue = Queue(azurite.connection_string)
    with queue.events, queue.poison:
        yield queue
        queue.events.delete_queue()


@pytest.fixture
def hosted(queue, azurite, tmp_path: Path) -> Iterator[Hosted]:
    """A host whose function takes the messages of the queue."""
    app = write_app(tmp_path, APP.format(queue=queue.name), json.dumps(HOST_JSON))
    hosted = Hosted(tmp_path, app, env={"EventQueue": azurite.connection_string})
    hosted.start()
    yield hosted
    hosted.process.stop()


def test_every_message_is_processed_and_deleted(hosted, queue):
    for number in range(50):
        queue.events.send_message(str(number).encode())
    records = hosted.wait_records(lambda records: len(records) >= 50)
    assert sorted(int(record["text"]) for record in records) == list(range(50))
    eventually(lambda: queue.count() == 0)


def test_a_message_that_fails_every_time_is_moved_to_the_poison_queue(hosted, queue):
    queue.events.send_message(b"fails")
    queue.events.send_message(b"succeeds")
    eventually(lambda: queue.count() == 0)
    (poisoned,) = queue.poison.receive_messages()
    assert poisoned.content == b"fails"
    attempts = [record["attempt"] for record in hosted.records() if record["text"] == "fails"]
    assert attempts == [1, 2, 3]


def test_a_queue_function_runs_on_demand(hosted):
    assert hosted.call("POST", "/admin/functions/take", {"input": "hello"}, x_functions_key=MASTER).status == 202
    hosted.wait_records(lambda records: {"text": "hello", "attempt": 1} in records)


def test_without_a_connection_only_the_listener_does_not_start(tmp_path):
    """As in Azure, the other functions of the app are served."""
    hosted = Hosted(tmp_path, write_app(tmp_path, APP.format(queue="events"), json.dumps(HOST_JSON)))
    hosted.start()
    assert hosted.call("POST", "/admin/functions/take", {"input": "hello"}, x_functions_key=MASTER).status == 202
    hosted.wait_records(lambda records: {"text": "hello", "attempt": 1} in records)
    hosted.process.stop()
    assert "the listener was unable to start: its connection is not set" in hosted.log.read_text()
