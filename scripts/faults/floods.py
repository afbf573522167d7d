"""Floods: one sender does its worst, and the other senders must hardly notice.

A flood runs in a process of its own, so that its work does not slow the clients that measure. The clients send single
events at a fixed rate, and a latency counts from the moment at which the event was due: a server that stops for a
second is measured by all events of that second.
"""

import asyncio
import itertools
import json
import multiprocessing
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Final, NamedTuple, Self
from urllib.parse import urlsplit

import aiohttp
import msgspec

from scripts.faults.testbed import Testbed

RATE: Final = 50.0
"""Events per second of the other senders."""

SECONDS: Final = 10.0
SHORT_SECONDS: Final = 3.0
"""How long a flood lasts, in a full and in a short run."""

MAX_RATIO: Final = 3.0
"""How many times its quiet value the others' p99 may be during a flood."""

FLOOR_MS: Final = 10.0
"""A quiet p99 below this counts as this: three times a few milliseconds is within the noise of a shared machine."""

MAX_MEGABYTES: Final = 300.0
"""The most memory that the API may occupy during a flood."""

CONNECTIONS: Final = 200
"""Connections of a flood of slow clients."""

_ARRAY_CLIENTS: Final = 4
_REQUEST_SECONDS: Final = 40.0
_SETTLE_SECONDS: Final = 1.0
_EVENTGRID: Final = "/api/v1/webhooks/azure/eventgrid"
_EVENTBRIDGE: Final = "/api/v1/webhooks/aws/eventbridge"

Bodies = Callable[[], Sequence[bytes]]
"""Builds the bodies that a client of a flood sends, again and again."""


class Target(NamedTuple):
    """What a flood sends to: the API's URL, and the headers with the sender's own credentials."""

    url: str
    headers: Mapping[str, str]


class Flood(NamedTuple):
    """One row of the table.

    Attributes:
        name: the name of the flood.
        run: sends to a target until it is cancelled.
    """

    name: str
    run: Callable[[Target], Awaitable[None]]


class FloodRow(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one flood.

    Attributes:
        name: the name of the flood.
        quiet_ms: the others' p99 before the flood, in milliseconds.
        p99_ms: the others' p99 during the flood.
        failed: how many of the others' events were not acknowledged at the first attempt.
        megabytes: the most memory that the API occupied.
        judges_latency: whether a p99 that is too high breaks a promise.
    """

    name: str
    quiet_ms: float
    p99_ms: float
    failed: int
    megabytes: float
    judges_latency: bool = True

    @property
    def violations(self) -> list[str]:
        """A sentence for each promise that was broken."""
        limit = MAX_RATIO * max(self.quiet_ms, FLOOR_MS)
        sentences = [
            (
                self.judges_latency and self.p99_ms > limit,
                f"the others' p99 is {self.p99_ms:.0f} ms, more than {limit:.0f} ms",
            ),
            (self.failed > 0, f"{self.failed} events of others were not acknowledged"),
            (self.megabytes > MAX_MEGABYTES, f"the API occupied {self.megabytes:.0f} MB"),
        ]
        return [sentence for is_broken, sentence in sentences if is_broken]


def run_floods(
    testbed: Testbed, floods: Sequence[Flood], *, seconds: float, judges_latency: bool = True
) -> list[FloodRow]:
    """The results of the floods, one after the other."""
    status = Path("/proc") / str(testbed.service("api").pid) / "status"
    target = Target(testbed.api_url, dict(testbed.credentials.headers(_EVENTGRID, b"")))
    others = Target(testbed.api_url, dict(testbed.credentials.headers(_EVENTBRIDGE, b"")))
    quiet, _ = _measured(others, seconds)
    rows = [_row(flood, target, others, status, quiet, seconds) for flood in floods]
    return [msgspec.structs.replace(row, judges_latency=judges_latency) for row in rows]


def _row(flood: Flood, target: Target, others: Target, status: Path, quiet_ms: float, seconds: float) -> FloodRow:
    context = multiprocessing.get_context("spawn")
    stopping = context.Event()
    sender = context.Process(target=_run, args=(flood.name, target, stopping), daemon=True)
    sender.start()
    with _PeakMemory(status) as memory:
        time.sleep(_SETTLE_SECONDS)
        p99_ms, failed = _measured(others, seconds)
        stopping.set()
        sender.join(_REQUEST_SECONDS)
    if sender.exitcode != 0:
        raise RuntimeError(f"the flood {flood.name} ended with {sender.exitcode}")
    return FloodRow(name=flood.name, quiet_ms=quiet_ms, p99_ms=p99_ms, failed=failed, megabytes=memory.megabytes)


class _PeakMemory:
    """The most memory that a process occupies while the context is open."""

    def __init__(self, status: Path) -> None:
        """Take the process' file ``/proc/PID/status`` (man 5 proc)."""
        self.megabytes = 0.0
        self._status = status
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopping.wait(0.05):
            (rss,) = [line.split()[1] for line in self._status.read_text().splitlines() if line.startswith("VmRSS:")]
            self.megabytes = max(self.megabytes, int(rss) / 1024)


def _measured(others: Target, seconds: float) -> tuple[float, int]:
    """The p99 of the other senders' latencies in milliseconds, and how many events were not acknowledged."""
    return asyncio.run(_measure(others, seconds))


async def _measure(others: Target, seconds: float) -> tuple[float, int]:
    latencies: list[float] = []
    failed = 0
    began = time.monotonic()
    timeout = aiohttp.ClientTimeout(total=_REQUEST_SECONDS)

    async def send(http: aiohttp.ClientSession, due: float) -> None:
        nonlocal failed
        await asyncio.sleep(due - time.monotonic())
        headers = {**others.headers, "content-type": "application/json"}
        try:
            async with http.post(_EVENTBRIDGE, data=_event(), headers=headers) as response:
                failed += response.status != HTTPStatus.ACCEPTED
                await response.read()
        except (aiohttp.ClientError, TimeoutError):
            failed += 1
        latencies.append(1000 * (time.monotonic() - due))

    async with (
        aiohttp.ClientSession(others.url, timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as http,
        asyncio.TaskGroup() as group,
    ):
        for number in range(round(RATE * seconds)):
            group.create_task(send(http, began + number / RATE))
    return sorted(latencies)[int(0.99 * len(latencies))], failed


def _event() -> bytes:
    event = {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Quiet",
        "source": "floods",
        "account": "1",
        "time": "2026-01-01T00:00:00Z",
        "region": "eu-central-1",
        "resources": [],
        "detail": {},
    }
    return json.dumps(event).encode()


def _run(name: str, target: Target, stopping: Event) -> None:
    """Run the flood of this name in this process until the event is set."""
    flood = next(flood for flood in FLOODS if flood.name == name)

    async def until_stopped() -> None:
        task = asyncio.ensure_future(flood.run(target))
        await asyncio.to_thread(stopping.wait)
        if task.done():
            task.result()
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(until_stopped())


def _arrays(bodies: Bodies) -> Callable[[Target], Awaitable[None]]:
    """A flood of arrays: each of a few clients sends the next one as soon as the last one was answered."""

    async def run(target: Target) -> None:
        timeout = aiohttp.ClientTimeout(total=_REQUEST_SECONDS)
        async with aiohttp.ClientSession(target.url, timeout=timeout) as http, asyncio.TaskGroup() as group:
            for _ in range(_ARRAY_CLIENTS):
                group.create_task(_send_all(http, target, bodies))

    return run


async def _send_all(http: aiohttp.ClientSession, target: Target, bodies: Bodies) -> None:
    headers = {**target.headers, "content-type": "application/json"}
    while True:
        for body in bodies():
            async with http.post(_EVENTGRID, data=body, headers=headers) as response:
                await response.read()


def _bad_arrays() -> Sequence[bytes]:
    """The largest array that is accepted, of which no element can be read."""
    return [b"[" + b",".join([b'{"id":1}'] * 5000) + b"]"]


def _without_data() -> Sequence[bytes]:
    """14,000 events without data: as one array, which is too large, and as three that are accepted."""
    numbers = itertools.count()
    run = uuid.uuid4()
    events = [
        f'{{"id":"{run}-{next(numbers)}","topic":"t","subject":"s","eventType":"Empty",'
        '"eventTime":"2026-01-01T00:00:00Z","dataVersion":"1"}'
        for _ in range(14_000)
    ]
    return [f"[{','.join(part)}]".encode() for part in (events, events[:4700], events[4700:9400], events[9400:])]


def _zeros() -> Sequence[bytes]:
    """1 MB of the smallest elements."""
    return [b"[" + b",".join([b"0"] * 500_000) + b"]"]


def _slow(head: bytes, piece: bytes) -> Callable[[Target], Awaitable[None]]:
    """A flood of connections that each send a byte a second, and open again when they are closed."""

    async def connection(target: Target) -> None:
        parts = urlsplit(target.url)
        credentials = "".join(f"{name}: {value}\r\n" for name, value in target.headers.items()).encode()
        while True:
            _, writer = await asyncio.open_connection(parts.hostname, parts.port)
            try:
                writer.write(head.replace(b"CREDENTIALS", credentials))
                while not writer.is_closing():
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(1)
            except OSError:
                pass  # the API has closed the connection
            finally:
                writer.close()

    async def run(target: Target) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(connection(target))

    return run


_POST: Final = f"POST {_EVENTGRID} HTTP/1.1\r\nhost: 127.0.0.1\r\n".encode()

FLOODS: Sequence[Flood] = (
    Flood("bad arrays", _arrays(_bad_arrays)),
    Flood("14,000 events without data", _arrays(_without_data)),
    Flood("1 MB of zeros", _arrays(_zeros)),
    Flood("slow bodies", _slow(_POST + b"CREDENTIALScontent-length: 100000\r\n\r\n", b"[")),
    Flood("slow headers", _slow(_POST + b"x: ", b"a")),
)
"""Every flood. All senders but those of the slow headers have valid credentials: others are refused at once."""
