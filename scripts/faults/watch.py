"""Those who watch while things fail: one who stays and must miss nothing, and many who come and go."""

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
LONGEST_VISIT_SECONDS: Final = 2.0
RETRY_SECONDS: Final = 0.3
_ANSWER_SECONDS: Final = 20.0


class _Count(msgspec.Struct):
    stored: int


class _Frame(msgspec.Struct):
    position: int
    counts: list[_Count]


class _Message(msgspec.Struct):
    """What comes over the WebSocket, and a page of ``GET /api/v1/frames``."""

    type: str = ""
    position: int = 0
    frames: list[_Frame] = []


class Watch:
    """A thread that watches; a context manager.

    Attributes:
        position: up to which the one who stays has seen everything.
        stored: how many events that one was shown as stored.
        visits: how often somebody came and went.
        wrong: positions that were left out or came in the wrong order, in words.
    """

    def __init__(self, url: str) -> None:
        self.position = 0
        self.stored = 0
        self.visits = 0
        self.wrong: list[str] = []
        self.churning = False
        self._url = url
        self._ended = threading.Event()
        self._thread = threading.Thread(target=lambda: uvloop.run(self._run()), name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(_ANSWER_SECONDS)

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_ANSWER_SECONDS)
        async with aiohttp.ClientSession(self._url, timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as http:
            tasks = [asyncio.create_task(self._again_and_again(self._stay, http))]
            tasks += [asyncio.create_task(self._again_and_again(self._visit, http)) for _ in range(CHURNERS)]
            while not self._ended.is_set():  # noqa: ASYNC110 - another thread sets it
                await asyncio.sleep(RETRY_SECONDS)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _again_and_again(
        self, watch: Callable[[aiohttp.ClientSession], Awaitable[None]], http: aiohttp.ClientSession
    ) -> None:
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, ConnectionError):  # that is what is tried
                await watch(http)
            await asyncio.sleep(RETRY_SECONDS)

    async def _stay(self, http: aiohttp.ClientSession) -> None:
        """Watch until the connection breaks; first catch up with what was missed."""
        async with http.ws_connect(STREAM, max_msg_size=0, heartbeat=_ANSWER_SECONDS) as socket:
            async for message in socket:
                told = msgspec.json.decode(message.data, type=_Message)
                if told.type == "hello":
                    await self._catch_up(http, told.position)
                self._see(told.frames)

    async def _catch_up(self, http: aiohttp.ClientSession, position: int) -> None:
        while self.position < position:
            async with http.get("/api/v1/frames", params={"after": self.position}) as response:
                response.raise_for_status()
                self._see(msgspec.json.decode(await response.read(), type=_Message).frames)

    def _see(self, frames: list[_Frame]) -> None:
        for frame in frames:
            if frame.position <= self.position:
                continue  # seen while catching up
            if frame.position != self.position + 1:
                self.wrong.append(f"position {frame.position} followed {self.position}")
            self.position = frame.position
            self.stored += sum(count.stored for count in frame.counts)

    async def _visit(self, http: aiohttp.ClientSession) -> None:
        """Come, look for a while, and go without a word."""
        if not self.churning:
            return
        until = time.monotonic() + random.uniform(0, LONGEST_VISIT_SECONDS)  # noqa: S311 - nobody guesses it
        last = None
        async with http.ws_connect(STREAM, max_msg_size=0) as socket:
            self.visits += 1
            while (left := until - time.monotonic()) > 0:
                message = await socket.receive(left)
                if message.type is not aiohttp.WSMsgType.TEXT:
                    break
                told = msgspec.json.decode(message.data, type=_Message)
                for position in [told.position] if told.type == "hello" else [one.position for one in told.frames]:
                    if last is not None and position > last + 1:
                        self.wrong.append(f"a visitor was shown position {position} after {last}")
                    last = max(position, last or 0)  # who comes may be shown again what was before
