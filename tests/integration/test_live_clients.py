"""Many watch one API process: each gets every position, and one that does not read is no other's trouble."""

import asyncio
import json
import re
import socket
import urllib.request
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest

from tests.support.api import Api
from tests.support.client import EVENTGRID, call, post, session
from tests.support.deliveries import eventgrid

CLIENTS = 200
EVENTS = 500
EVENTS_PER_SECOND = 100
PATIENCE_SECONDS = 60
STREAM = "/api/v1/ws/events"

FEW = 8
LARGE_FRAMES = 600
"""Of nearly 32 KB each: more than the kernel, the server and a client's backlog hold together."""


@pytest.fixture
def api(database_url, redis_url, pool, server_folder) -> Iterator[Api]:
    """An API of its own: one that has watched an earlier test's stream would not look for positions given again."""
    with Api(database_url=database_url, redis_url=redis_url, log=server_folder / "api-live.log") as fresh:
        yield fresh


class Watcher:
    """A client of the stream.

    Attributes:
        positions: what it got, in order of arrival.
    """

    def __init__(self, opened: aiohttp.ClientWebSocketResponse) -> None:
        self.positions: list[int] = []
        self._opened = opened

    async def watch(self) -> None:
        """Read until the connection ends."""
        async for message in self._opened:
            self.positions += [frame["position"] for frame in json.loads(message.data).get("frames", [])]


@asynccontextmanager
async def watching(http: aiohttp.ClientSession, clients: int) -> AsyncIterator[list[Watcher]]:
    """So many clients, which the server has greeted, and who read until the block ends."""
    async with AsyncExitStack() as stack:
        watchers = []
        for _ in range(clients):
            opened = await stack.enter_async_context(http.ws_connect(STREAM, max_msg_size=0))
            assert json.loads((await opened.receive()).data)["type"] == "hello"
            watchers.append(Watcher(opened))
        reading = [asyncio.create_task(one.watch()) for one in watchers]
        yield watchers
        for task in reading:
            task.cancel()


async def until(holds: Callable[[], bool]) -> None:
    """Return as soon as it holds; the caller limits the time."""
    while not await asyncio.to_thread(holds):  # noqa: ASYNC110 - what it waits for happens in another process
        await asyncio.sleep(0.05)


async def until_all_have_all(http: aiohttp.ClientSession, watchers: list[Watcher]) -> None:
    """Return once each has come to the latest position of the stream, and fail if one has missed or repeated any."""
    async with http.get("/api/v1/frames", params={"limit": 1}) as answer:
        last = (await answer.json())["position"]
    await until(lambda: all(one.positions and one.positions[-1] >= last for one in watchers))
    assert [one.positions for one in watchers if one.positions != list(range(1, last + 1))] == []


def counted_watchers(url: str) -> int:
    """How many watch, as the process itself counts them."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=PATIENCE_SECONDS) as answer:
        found = re.search(r"^helios_watchers (\d+)", answer.read().decode(), re.MULTILINE)
    assert found
    return int(found[1])


async def store(http: aiohttp.ClientSession, events: int = 1, note: str = "") -> None:
    """Store a batch of new events."""
    batch = [json.loads(eventgrid(uuid.uuid4().hex).body) | {"subject": f"orders/{note}"} for _ in range(events)]
    assert (await post(http, EVENTGRID, json.dumps(batch).encode())).status == 200


async def store_by_schedule(http: aiohttp.ClientSession) -> None:
    """Store single events at their rate, whether or not the answers keep up."""
    clock = asyncio.get_running_loop().time
    began = clock()
    async with asyncio.TaskGroup() as group:
        for number in range(EVENTS):
            await asyncio.sleep(began + number / EVENTS_PER_SECOND - clock())
            group.create_task(store(http))


def test_two_hundred_clients_get_every_position(api, records):
    async def run() -> None:
        async with (
            asyncio.timeout(PATIENCE_SECONDS),
            session(api.url, clients=0) as http,
            watching(http, CLIENTS) as watchers,
        ):
            await store_by_schedule(http)
            await until_all_have_all(http, watchers)

    asyncio.run(run())
    assert len(records.keys()) == EVENTS


def stuck_client(url: str) -> socket.socket:
    """A client of the stream that asks for it and never reads."""
    host, _, port = url.removeprefix("http://").partition(":")
    stuck = socket.socket()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck.connect((host, int(port)))
    stuck.sendall(
        f"GET {STREAM} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    return stuck


def test_a_client_that_stops_reading_is_dropped_and_no_other_misses_anything(api, records):
    """Dropped while it still does not read: what waited for it is forgotten, and can be had from the frames."""

    async def run() -> None:
        async with (
            asyncio.timeout(PATIENCE_SECONDS),
            session(api.url, clients=0) as http,
            watching(http, FEW) as watchers,
        ):
            with stuck_client(api.url):
                await until(lambda: counted_watchers(api.url) == FEW + 1)
                for _ in range(LARGE_FRAMES):
                    await store(http, events=20, note="x" * 1000)
                await until_all_have_all(http, watchers)
                await until(lambda: counted_watchers(api.url) == FEW)

    asyncio.run(run())
    assert call(api.url, "/api/v1/health").status == 200
