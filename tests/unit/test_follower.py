"""The follower of the outbox, and the clients that come and go."""

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import msgspec

from helios.api.stream import Broadcaster, OutboxFollower
from helios.model.access import Visibility
from helios.services.ingest import ingest
from tests.fakes.store import MemoryDedupeCache, MemoryOutbox, MemoryStore
from tests.support.deliveries import eventbridge


class Database:
    """An outbox in memory that can be emptied, and the notifications of it."""

    def __init__(self) -> None:
        self._new = threading.Event()
        self.empty()

    def __getattr__(self, name: str) -> Any:
        """The methods of the outbox of now."""
        return getattr(self._outbox, name)

    def empty(self) -> None:
        """Begin again, as after a restore, without a notification."""
        self._store = MemoryStore()
        self._outbox = MemoryOutbox(self._store)

    def store(self, events: int) -> None:
        """Store events, each in a batch of its own, and notify once."""
        for number in range(events):
            ingest([eventbridge(str(number))], dedupe=MemoryDedupeCache(), store=self._store)
        self._new.set()

    def wait(self, seconds: float) -> None:
        """Return after a notification."""
        self._new.wait(seconds)
        self._new.clear()

    def close(self) -> None:
        """Close nothing."""


class Socket:
    """A WebSocket that keeps the positions that it gets."""

    def __init__(self) -> None:
        self.positions: list[int] = []
        self.closed = asyncio.Event()

    async def accept(self) -> None:
        """Accept the client."""

    async def send_text(self, text: str) -> None:
        """Take a message."""
        self.positions += [frame["position"] for frame in msgspec.json.decode(text).get("frames", [])]

    async def receive(self) -> dict[str, Any]:
        """Say that the client has left, once it has."""
        await self.closed.wait()
        return {"type": "websocket.disconnect", "code": 1000}


async def until_it_has(socket: Socket, position: int) -> None:
    while not socket.positions or socket.positions[-1] < position:  # noqa: ASYNC110 - another thread sends
        await asyncio.sleep(0.01)


def test_the_first_client_after_a_restore_gets_every_position():
    """Also if the follower has not noticed that the clients from before the restore have left."""

    async def run() -> None:
        database, broadcaster = Database(), Broadcaster()
        views: Any = lambda _: SimpleNamespace(frame=lambda frame: frame)  # noqa: E731
        follower = OutboxFollower(database, database, broadcaster, views, sample_above=10)
        follower.start()
        for events in (2, 3):
            socket: Any = Socket()
            serving = asyncio.create_task(broadcaster.serve(socket, Visibility(), 0))
            await asyncio.sleep(0)
            database.store(events)
            await until_it_has(socket, events)
            assert socket.positions == [*range(1, events + 1)]
            socket.closed.set()
            await serving
            database.empty()
        follower.stop()

    asyncio.run(asyncio.wait_for(run(), 30))
