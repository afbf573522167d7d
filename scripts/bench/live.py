"""Latency from a webhook to a WebSocket message."""

import asyncio
import json
import time
import uuid
from contextlib import AsyncExitStack

import aiohttp
import uvloop

from helios.processes.ports import HOST
from scripts.bench.load import PATH
from scripts.bench.payloads import SHAPES
from scripts.bench.report import Table, percentile
from scripts.bench.servers import Servers, api

STREAM = "/api/v1/ws/events"
RATES = (10, 100, 1000)

CROWD = 20
CROWD_RATE = 100
STUCK = (0, 1, 5)


def measure(running: Servers, *, quick: bool) -> list[Table]:
    """Milliseconds from the start of a POST until a client receives its event, at several rates."""
    seconds = 2 if quick else 15
    with api(running) as (port, _):
        rows = [uvloop.run(_receive_and_post(port, rate, seconds)) for rate in RATES]
        crowd = [uvloop.run(_crowd(port, stuck, seconds)) for stuck in STUCK]
    running.empty()
    return [
        Table(
            title="Webhook to WebSocket, ms",
            columns=("target events/s", "actual events/s", "p50", "p99", "received of sent"),
            rows=rows,
            goal="goal: p99 below 100; the promise is 500. A frame contains at most 100 events of a batch.",
        ),
        Table(
            title=f"The same at {CROWD_RATE} events/s with {CROWD} clients, and others that do not read, ms",
            columns=("clients that do not read", "p50", "p99", "received of sent, all clients"),
            rows=crowd,
            goal="goal: the first column does not affect the others",
        ),
    ]


async def _receive_and_post(port: int, rate: int, seconds: float) -> tuple[int, float, float, float, str]:
    sent: dict[str, float] = {}
    latencies: list[float] = []
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64)) as http,
        http.ws_connect(_url(port), max_msg_size=0) as socket,
    ):
        await socket.receive()  # the hello message: from now on the client receives every frame
        receiving = asyncio.create_task(_receive(socket, sent, latencies))
        began = time.perf_counter()
        await _post(http, port, rate, int(rate * seconds), sent)
        took = time.perf_counter() - began
        await _settle(latencies, len(sent))
        receiving.cancel()
    received = f"{len(latencies)} of {len(sent)}"
    return rate, len(sent) / took, percentile(latencies, 50), percentile(latencies, 99), received


async def _crowd(port: int, stuck: int, seconds: float) -> tuple[int, float, float, str]:
    """The latencies of all clients that read, beside ``stuck`` clients that do not."""
    sent: dict[str, float] = {}
    latencies: list[float] = []
    async with (
        AsyncExitStack() as stack,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
    ):
        for _ in range(stuck):
            stack.callback((await _stuck_client(port)).close)
        sockets = [await stack.enter_async_context(http.ws_connect(_url(port), max_msg_size=0)) for _ in range(CROWD)]
        for socket in sockets:
            await socket.receive()  # the hello message, as above
        receiving = [asyncio.create_task(_receive(socket, sent, latencies)) for socket in sockets]
        await _post(http, port, CROWD_RATE, int(CROWD_RATE * seconds), sent)
        await _settle(latencies, CROWD * len(sent))
        for task in receiving:
            task.cancel()
    received = f"{len(latencies)} of {CROWD * len(sent)}"
    return stuck, percentile(latencies, 50), percentile(latencies, 99), received


async def _stuck_client(port: int) -> asyncio.StreamWriter:
    """A client that opens the stream and does not read."""
    _, writer = await asyncio.open_connection(HOST, port, limit=1)
    writer.write(
        f"GET {STREAM} HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    await writer.drain()
    return writer


def _url(port: int) -> str:
    return f"ws://{HOST}:{port}{STREAM}"


async def _receive(socket: aiohttp.ClientWebSocketResponse, sent: dict[str, float], latencies: list[float]) -> None:
    async for message in socket:
        now = time.perf_counter()
        content = json.loads(message.data)
        for frame in content.get("frames", ()):
            latencies += [(now - sent[event["id"]]) * 1e3 for event in frame["events"] if event["id"] in sent]


async def _post(http: aiohttp.ClientSession, port: int, rate: int, count: int, sent: dict[str, float]) -> None:
    """Post by a schedule, without waiting for responses."""
    url, text = f"http://{HOST}:{port}{PATH}", SHAPES["EventBridge"][1]

    async def post(id_: str) -> None:
        body = text.replace("ID", id_, 1).encode()
        sent[id_] = time.perf_counter()
        async with http.post(url, data=body, headers={"Content-Type": "application/json"}) as answer:
            answer.raise_for_status()

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            delay = began + number / rate - time.perf_counter()
            if delay > 0:
                await asyncio.sleep(delay)
            group.create_task(post(uuid.uuid4().hex))


async def _settle(latencies: list[float], expected: int) -> None:
    """Wait until all events were received, or none for half a second."""
    before = -1
    while len(latencies) < expected and len(latencies) != before:
        before = len(latencies)
        await asyncio.sleep(0.5)
