"""The API's background tasks: an exception does not end them for the rest of the process' life."""

import threading

import msgspec

from helios.api import periodic
from tests.fakes.store import MemoryOutbox, MemoryStore
from tests.support.deliveries import eventbridge
from tests.support.services import client_of, in_memory

PATIENCE_SECONDS = 20


class FailingStore(MemoryStore):
    """A store whose first transaction raises an unexpected exception."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.retried = threading.Event()

    def transaction(self):
        self.calls += 1
        if self.calls == 1:
            raise ZeroDivisionError("a bug")
        self.retried.set()
        return super().transaction()


class FailingOutbox(MemoryOutbox):
    """An outbox whose first read fails."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.calls = 0
        self.retried = threading.Event()

    def frames(self, **where):
        self.calls += 1
        if self.calls == 1:
            raise ZeroDivisionError("a bug")
        self.retried.set()
        return super().frames(**where)


def test_the_sweep_runs_again_after_an_error(monkeypatch, caplog):
    monkeypatch.setattr(periodic, "EXPIRE_SECONDS", 0.01)
    monkeypatch.setattr(periodic, "SWEEP_SECONDS", 0.01)
    store = FailingStore()
    with client_of(in_memory(store)):
        assert store.retried.wait(PATIENCE_SECONDS)

    assert "sweep failed" in caplog.text


def test_the_live_stream_resumes_after_a_failed_read(caplog):
    store = MemoryStore()
    outbox = FailingOutbox(store)
    services = in_memory(store)
    services = msgspec.structs.replace(services, outbox=outbox, notifier=outbox, listener=outbox)
    with client_of(services) as client, client.websocket_connect("ws://127.0.0.1/api/v1/ws/events") as socket:
        assert socket.receive_json()["type"] == "hello"
        content = eventbridge("1").body
        client.post("/api/v1/webhooks/aws/eventbridge", content=content, headers={"content-type": "application/json"})
        assert outbox.retried.wait(PATIENCE_SECONDS)
        frame = socket.receive_json()["frames"][0]

    assert frame["events"][0]["id"] == "1"
    assert "live stream interrupted" in caplog.text
