"""A real Helios API for the simulator, over HTTP, with a store in memory and outages on demand."""

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from helios.api import create_app
from helios.model.dead_letters import DeadLetterFilter, StoredDeadLetter
from helios.model.events import Event, EventFilter
from tests.fakes.store import MemoryStore
from tests.support.services import in_memory


class Helios:
    """The API on a free port."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.refusals = 0
        self.app = create_app(in_memory(self.store))
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(self._answer, log_level="critical", ws="none", interface="asgi3")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]})

    def start(self) -> None:
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self._server.started:
            assert time.monotonic() < deadline, "the API did not start"
            time.sleep(0.01)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        self._socket.close()

    def refuse(self, requests: int) -> None:
        """Answer the next ``requests`` requests with 503 and store nothing, as during an outage of Postgres."""
        self.refusals = requests

    def events(self) -> list[Event]:
        return self.store.events(EventFilter(), after=None, limit=1_000_000).items

    def dead_letters(self) -> list[StoredDeadLetter]:
        return self.store.dead_letters(DeadLetterFilter(), after=None, limit=1_000_000).items

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and self.refusals > 0:
            self.refusals -= 1
            more = True
            while more:
                more = (await receive()).get("more_body", False)
            headers = [(b"content-type", b"application/problem+json"), (b"retry-after", b"0")]
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            await send({"type": "http.response.body", "body": b'{"title":"Service Unavailable"}'})
            return
        await self.app(scope, receive, send)


@pytest.fixture
def helios() -> Iterator[Helios]:
    """A running API with an empty store."""
    api = Helios()
    api.start()
    yield api
    api.stop()
