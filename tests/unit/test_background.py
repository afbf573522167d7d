"""The API's background tasks: an exception does not end them for the rest of the process' life."""

import threading

import msgspec

from helios.api import app
from tests.fakes.store import MemoryOutbox, MemoryStore
from tests.support.deliveries import eventbridge
from tests.support.services import client_of, in_memory

PATIENCE_SECONDS = 20


class DefectiveStore(MemoryStore):
    """A store whose first transaction raises an unexpected exception."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.asked_again = threading.Event()

    def transaction(self):
        self.asked += 1
        if self.asked == 1:
            raise ZeroDivisionError("a bug")
        self.asked_again.set()
        return super().transaction()


class DefectiveOutbox(MemoryOutbox):
    """An outbox whose frames can't be read the first time."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.asked = 0
        self.asked_again = threading.Event()

    def frames(self, **where):
        self.asked += 1
        if self.asked == 1:
            raise ZeroDivisionError("a bug")
        self.asked_again.set()
        return super().frames(**where)


def test_a_sweep_that_failed_is_not_the_last_one(monkeypatch, caplog):
    monkeypatch.setattr(app, "EXPIRE_SECONDS", 0.01)
    monkeypatch.setattr(app, "SWEEP_SECONDS", 0.01)
    store = DefectiveStore()
    with client_of(in_memory(store)):
        assert store.asked_again.wait(PATIENCE_SECONDS)

    assert "sweep failed" in caplog.text


def test_the_live_stream_goes_on_after_a_frame_that_could_not_be_read(caplog):
    store = MemoryStore()
    outbox = DefectiveOutbox(store)
    services = in_memory(store)
    services = msgspec.structs.replace(services, outbox=outbox, notifier=outbox, listener=outbox)
    with client_of(services) as client, client.websocket_connect("ws://127.0.0.1/api/v1/ws/events") as socket:
        assert socket.receive_json()["type"] == "hello"
        content = eventbridge("1").body
        client.post("/api/v1/webhooks/aws/eventbridge", content=content, headers={"content-type": "application/json"})
        assert outbox.asked_again.wait(PATIENCE_SECONDS)
        frame = socket.receive_json()["frames"][0]

    assert frame["events"][0]["id"] == "1"
    assert "live stream interrupted" in caplog.text
