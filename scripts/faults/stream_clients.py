"""Clients of the stream while parts fail: one follows it and must miss nothing, others connect for a short time."""

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Final, Self

import aiohttp
import msgspec
import uvloop

STREAM: Final = "/api/v1/ws/events"
CHURNERS: Final = 20
LONGEST_CONNECTION_SECONDS: Final = 2.0
RETRY_SECONDS: Final = 0.3
_ANSWER_SECONDS: Final = 20.0


class _Count(msgspec.Struct):
    stored: int


class _Frame(msgspec.Struct):
    position: int
    counts: list[_Count]


class _Message(msgspec.Struct):
    """A message of the WebSocket, or a page of ``GET /api/v1/frames``."""

    type: str = ""
    position: int = 0
    frames: list[_Frame] = []


class StreamClients:
    """A thread with WebSocket clients; a context manager.

    Attributes:
        position: the position up to which the following client received every frame.
        stored: how many stored events the following client received.
        connections: how many connections the short-lived clients opened.
        violations: positions that were missing or out of order, in words.
        churning: whether short-lived clients connect now.
    """

    def __init__(self, url: str) -> None:
        self.position = 0
        self.stored = 0
        self.connections = 0
        self.violations: list[str] = []
        self.churning = False
        self._url = url
        self._ended = threading.Event()
        self._thread = threading.Thread(target=lambda: uvloop.run(self._run()), name="stream-clients", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(_ANSWER_SECONDS)

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_ANSWER_SECONDS)
        async with aiohttp.ClientSession(self._url, timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as http:
            tasks = [asyncio.create_task(self._repeat(self._follow, http))]
            tasks += [asyncio.create_task(self._repeat(self._connect_briefly, http)) for _ in range(CHURNERS)]
            while not self._ended.is_set():  # noqa: ASYNC110 - another thread sets it
                await asyncio.sleep(RETRY_SECONDS)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _repeat(
        self, client: Callable[[aiohttp.ClientSession], Awaitable[None]], http: aiohttp.ClientSession
    ) -> None:
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, ConnectionError):  # the injected faults
                await client(http)
            await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self, http: aiohttp.ClientSession) -> None:
        """Fetch the frames that were missed, then receive frames until the connection breaks."""
        async with http.ws_connect(STREAM, max_msg_size=0, heartbeat=_ANSWER_SECONDS) as socket:
            async for message in socket:
                content = msgspec.json.decode(message.data, type=_Message)
                if content.type == "hello":
                    await self._catch_up(http, content.position)
                self._receive(content.frames)

    async def _catch_up(self, http: aiohttp.ClientSession, position: int) -> None:
        while self.position < position:
            async with http.get("/api/v1/frames", params={"after": self.position}) as response:
                response.raise_for_status()
                self._receive(msgspec.json.decode(await response.read(), type=_Message).frames)

    def _receive(self, frames: list[_Frame]) -> None:
        for frame in frames:
            if frame.position <= self.position:
                continue  # received while catching up
            if frame.position != self.position + 1:
                self.violations.append(f"position {frame.position} followed {self.position}")
            self.position = frame.position
            self.stored += sum(count.stored for count in frame.counts)

    async def _connect_briefly(self, http: aiohttp.ClientSession) -> None:
        """Connect, receive for a random time, and disconnect without a close frame."""
        if not self.churning:
            return
        until = time.monotonic() + random.uniform(0, LONGEST_CONNECTION_SECONDS)  # noqa: S311 - not a secret
        last = None
        async with http.ws_connect(STREAM, max_msg_size=0) as socket:
            self.connections += 1
            while (left := until - time.monotonic()) > 0:
                message = await socket.receive(left)
                if message.type is not aiohttp.WSMsgType.TEXT:
                    break
                content = msgspec.json.decode(message.data, type=_Message)
                frames = [frame.position for frame in content.frames]
                for position in [content.position] if content.type == "hello" else frames:
                    if last is not None and position > last + 1:
                        self.violations.append(f"a short-lived client received position {position} after {last}")
                    last = max(position, last or 0)  # the first frames may precede the position in the hello message
