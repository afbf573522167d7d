"""Many clients of one API process: each gets every position, and one that stops reading does not affect the others."""

import asyncio
import json
import re
import socket
import urllib.request
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest

from helios.adapters.postgres.stream import PostgresOutbox
from helios.processes.ports import HOST, free_port
from helios.services.relay import MAX_MESSAGE_BYTES
from tests.support.api import Api
from tests.support.client import EVENTGRID, call, post, session
from tests.support.deliveries import eventgrid
from tests.support.records import Records

CLIENTS = 200
EVENTS = 500
EVENTS_PER_SECOND = 100
PATIENCE_SECONDS = 240
STREAM = "/api/v1/ws/events"

FEW = 8
SOME_FRAMES = 50
LARGE_FRAMES = 600
"""Of nearly 32 KB each: more than the buffers of the kernel and the server and a client's backlog together."""


class Watcher:
    """A client of the stream.

    Attributes:
        positions: the received positions, in order of arrival.
        largest: the size of the largest message, in bytes.
        greetings: the positions in the received greetings: the first one, and one for each reset of the stream.
    """

    def __init__(self, opened: aiohttp.ClientWebSocketResponse, position: int) -> None:
        self.positions: list[int] = []
        self.largest = 0
        self.greetings = [position]
        self._opened = opened

    async def watch(self) -> None:
        """Read until the connection ends."""
        async for message in self._opened:
            self.largest = max(self.largest, len(message.data.encode()))
            content = json.loads(message.data)
            self.positions += [frame["position"] for frame in content.get("frames", [])]
            if content["type"] == "hello":
                self.greetings.append(content["position"])


@asynccontextmanager
async def watching(http: aiohttp.ClientSession, clients: int) -> AsyncIterator[list[Watcher]]:
    """Open ``clients`` clients, each after its greeting; they read until the block ends."""
    async with AsyncExitStack() as stack:
        watchers = []
        for _ in range(clients):
            opened = await stack.enter_async_context(http.ws_connect(STREAM, max_msg_size=0))
            greeting = json.loads((await opened.receive()).data)
            assert greeting["type"] == "hello"
            watchers.append(Watcher(opened, greeting["position"]))
        reading = [asyncio.create_task(watcher.watch()) for watcher in watchers]
        yield watchers
        for task in reading:
            task.cancel()


async def until(holds: Callable[[], bool]) -> None:
    """Return as soon as ``holds`` returns true; the caller limits the time."""
    while not await asyncio.to_thread(holds):  # noqa: ASYNC110 - the condition depends on another process
        await asyncio.sleep(0.05)


async def until_all_have_all(records: Records, watchers: list[Watcher]) -> None:
    """Return once each client has every stored frame; fail if one missed or repeated a position."""
    last = await asyncio.to_thread(records.last_position)
    await until(lambda: all(watcher.positions and watcher.positions[-1] >= last for watcher in watchers))
    assert [watcher.positions for watcher in watchers if watcher.positions != list(range(1, last + 1))] == []


def counted_watchers(url: str) -> int:
    """The number of clients in the metrics of the API."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=PATIENCE_SECONDS) as answer:
        gauge = re.search(r"^helios_watchers (\d+)", answer.read().decode(), re.MULTILINE)
    assert gauge
    return int(gauge[1])


async def store(http: aiohttp.ClientSession, events: int = 1, note: str = "") -> None:
    """Store a batch of new events."""
    batch = [json.loads(eventgrid(uuid.uuid4().hex).body) | {"subject": f"orders/{note}"} for _ in range(events)]
    assert (await post(http, EVENTGRID, json.dumps(batch).encode())).status == 200


async def store_by_schedule(http: aiohttp.ClientSession) -> None:
    """Store single events at a fixed rate, without waiting for the answers."""
    clock = asyncio.get_running_loop().time
    began = clock()
    async with asyncio.TaskGroup() as group:
        for number in range(EVENTS):
            await asyncio.sleep(began + number / EVENTS_PER_SECOND - clock())
            group.create_task(store(http))


def test_each_of_two_hundred_clients_gets_every_position(api, records):
    async def run() -> None:
        async with (
            asyncio.timeout(PATIENCE_SECONDS),
            session(api.url, clients=0) as http,
            watching(http, CLIENTS) as watchers,
        ):
            await store_by_schedule(http)
            await until_all_have_all(records, watchers)

    asyncio.run(run())
    assert len(records.keys()) == EVENTS


def stuck_client(url: str) -> socket.socket:
    """A client that requests the stream and never reads."""
    host, _, port = url.removeprefix("http://").partition(":")
    stuck = socket.socket()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck.connect((host, int(port)))
    stuck.sendall(
        f"GET {STREAM} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    return stuck


def test_a_client_that_stops_reading_is_dropped_and_no_other_misses_a_position(api, records):
    """The API drops it without waiting for it to read. Its backlog is discarded; the client can request the frames."""

    async def run() -> None:
        async with (
            asyncio.timeout(PATIENCE_SECONDS),
            session(api.url, clients=0) as http,
            watching(http, FEW) as watchers,
        ):
            with stuck_client(api.url):
                await until(lambda: counted_watchers(api.url) == FEW + 1)
                for _ in range(SOME_FRAMES):
                    await store(http, events=20, note="x" * 1000)
                await until_all_have_all(records, watchers)
                assert counted_watchers(api.url) == FEW + 1  # the others did not wait until it was dropped
                for _ in range(LARGE_FRAMES):
                    await store(http, events=20, note="x" * 1000)
                await until_all_have_all(records, watchers)
                await until(lambda: counted_watchers(api.url) == FEW)

    asyncio.run(run())
    assert call(api.url, "/api/v1/health").status == 200


def test_after_a_restore_of_the_database_the_clients_get_a_new_greeting(api, pool):
    """With the greeting they load all data again, and later frames reach them."""

    async def run() -> None:
        async with (
            asyncio.timeout(PATIENCE_SECONDS),
            session(api.url, clients=0) as http,
            watching(http, 1) as (watcher,),
        ):
            for _ in range(3):
                await store(http)
            await until(lambda: watcher.positions == [1, 2, 3])
            with pool.connection() as restored:
                restored.execute("DELETE FROM frames WHERE position > 1")
                restored.execute("UPDATE stream SET position = 1")
            await until(lambda: watcher.greetings[-1] == 1)
            await store(http)
            await until(lambda: watcher.positions == [1, 2, 3, 2])

    asyncio.run(run())


def test_a_batch_of_many_long_types_does_not_exceed_the_size_of_a_message(api, records):
    """Otherwise a sender could end every connection."""
    batch = [json.loads(eventgrid(f"{n}").body) | {"eventType": f"{n:0>256}"} for n in range(400)]

    async def run() -> None:
        async with (
            asyncio.timeout(PATIENCE_SECONDS),
            session(api.url, clients=0) as http,
            watching(http, 2) as watchers,
        ):
            assert (await post(http, EVENTGRID, json.dumps(batch).encode())).status == 200
            await until_all_have_all(records, watchers)
            assert [0 < watcher.largest <= MAX_MESSAGE_BYTES for watcher in watchers] == [True, True]

    asyncio.run(run())


def test_five_minutes_of_a_busy_stream_can_be_read_again_without_a_gap(api, pool):
    """A page requests them after it was hidden for that time; frames are stored for an hour."""
    empty = json.dumps({"counts": [], "events": []})
    with pool.connection() as connection:
        connection.execute("INSERT INTO frames (body, keys) SELECT %s, '[]' FROM generate_series(1, 20500)", [empty])
    PostgresOutbox(pool).number()  # a reader numbers some of them only, and none while another process does

    async def run() -> list[int]:
        positions = [0]
        async with asyncio.timeout(PATIENCE_SECONDS), session(api.url, clients=1) as http:
            while True:
                async with http.get("/api/v1/frames", params={"after": positions[-1], "limit": 500}) as answer:
                    page = await answer.json()
                assert page["oldest"] == 1
                if not page["frames"]:
                    return positions
                positions += [frame["position"] for frame in page["frames"]]

    assert asyncio.run(run()) == list(range(20_501))


def test_a_binary_message_is_ignored(api):
    """The connection stays open."""

    async def run() -> None:
        async with (
            asyncio.timeout(PATIENCE_SECONDS),
            session(api.url, clients=0) as http,
            http.ws_connect(STREAM) as opened,
        ):
            assert (await opened.receive_json())["type"] == "hello"
            await opened.send_bytes(b'{"type":"ping"}')
            await opened.send_json({"type": "ping"})
            assert (await opened.receive_json())["type"] == "pong"

    asyncio.run(run())


def test_a_ticket_that_can_not_be_checked_is_answered_with_503(database_url, pool, server_folder):
    """While Redis is down, the client is not refused but asked to retry."""

    async def run(url: str) -> None:
        async with session(url, clients=0) as http:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(f"{STREAM}?ticket=any")
            assert refused.value.status == 503
            assert refused.value.headers
            assert refused.value.headers["retry-after"] == "5"

    nowhere = f"redis://{HOST}:{free_port()}"
    with Api(database_url=database_url, redis_url=nowhere, log=server_folder / "api-without-redis.log") as api:
        asyncio.run(run(api.url))
