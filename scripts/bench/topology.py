"""The functions of three clouds before one Postgres: sustained events per second, and when watchers see them."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

import aiohttp
import msgspec
import uvloop
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from helios.processes.ports import HOST
from scripts.bench.instances import Cloud, Job, Result, serve
from scripts.bench.live import STREAM
from scripts.bench.proxy import distant
from scripts.bench.report import Table, percentile
from scripts.bench.servers import Servers, api

SECONDS = 60
QUICK_SECONDS = 5
SECRET = "the-secret-of-the-benchmark"  # noqa: S105 - of servers that exist for a minute
WATCHERS = 10


class _Place(msgspec.Struct, frozen=True):
    """A cloud, and how its functions run.

    Attributes:
        round_trip: milliseconds to Postgres and back.
        instances: as many as the cloud starts for these requests: on AWS up to ``ingest_concurrency``.
        concurrency: requests of an instance at the same time: one on Lambda; the concurrency of the Cloud Function; the
            messages that Azure's host takes from the queue (batchSize and newBatchThreshold).
        notifies_api: whether its functions notify the API by HTTPS; on AWS there is a queue, in place of which the
            benchmark uses NOTIFY.
    """

    name: str
    share: float
    round_trip: float
    instances: int
    concurrency: int
    notifies_api: bool


PLACES = (
    _Place("AWS", 0.4, 1, instances=5, concurrency=1, notifies_api=False),
    _Place("GCP", 0.3, 10, instances=1, concurrency=80, notifies_api=True),
    _Place("Azure", 0.3, 10, instances=1, concurrency=128, notifies_api=True),
)


class _Event(msgspec.Struct):
    received_at: datetime


class _Frame(msgspec.Struct):
    events: list[_Event] = []


class _Message(msgspec.Struct):
    frames: list[_Frame] = []


def measure(running: Servers, *, quick: bool, seconds: float | None = None) -> list[Table]:
    """Requests of one event each, from all clouds at once, as fast as they are answered."""
    seconds = seconds or (QUICK_SECONDS if quick else SECONDS)
    with (
        api(running, HELIOS_NOTIFY_SECRET=SECRET) as (port, _),
        _clouds(running, port) as clouds,
        _watching(port) as latencies,
    ):
        results = serve(Job(clouds=clouds, redis_url=running.redis_url, notify_secret=SECRET, seconds=seconds))
    running.empty()
    rows: list[list[str | int | float]] = [
        [place.name, place.round_trip, place.instances, place.concurrency, *_figures(result, seconds), ""]
        for place, result in zip(PLACES, results, strict=True)
    ]
    total = Result(
        milliseconds=[milliseconds for result in results for milliseconds in result.milliseconds],
        failures=sum(result.failures for result in results),
    )
    rows.append(["all", "", "", "", *_figures(total, seconds), percentile(latencies, 99)])
    return [
        Table(
            title=f"Functions of three clouds, each request with one event of a new order, for {seconds:g} s",
            columns=("cloud", "round trip ms", "instances", "requests of each", *FIGURES, "watchers' p99 ms"),
            rows=rows,
            goal=f"40 % AWS, 30 % GCP, 30 % Azure; {WATCHERS} watchers",
        )
    ]


FIGURES = ("events/s", "p50 ms", "p99 ms", "failed")


def _figures(result: Result, seconds: float) -> tuple[float, float, float, int]:
    """The columns of FIGURES."""
    times = result.milliseconds
    return len(times) / seconds, percentile(times, 50), percentile(times, 99), result.failures


@contextmanager
def _clouds(running: Servers, port: int) -> Iterator[Sequence[Cloud]]:
    database = conninfo_to_dict(running.database_url)
    with ExitStack() as stack:
        clouds = []
        for leg, place in enumerate(PLACES):
            proxy = distant(str(database["host"]), int(database["port"] or 5432), place.round_trip)
            url = make_conninfo(running.database_url, host=HOST, port=stack.enter_context(proxy).port)
            clouds.append(
                Cloud(
                    leg=leg,
                    share=place.share,
                    instances=place.instances,
                    concurrency=place.concurrency,
                    database_url=url,
                    notify_url=f"http://{HOST}:{port}/api/v1/relay/notify" if place.notifies_api else None,
                )
            )
        yield clouds


@contextmanager
def _watching(port: int) -> Iterator[list[float]]:
    """Milliseconds from the receipt of each event that watchers saw during the block."""
    latencies: list[float] = []
    ready, ended = threading.Event(), asyncio.Event()
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(_watch(port, latencies, ready, ended)))
    thread.start()
    try:
        if not ready.wait(30):
            raise RuntimeError("the watchers could not connect")
        yield latencies
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()


async def _watch(port: int, latencies: list[float], ready: threading.Event, ended: asyncio.Event) -> None:
    decoder = msgspec.json.Decoder(_Message)

    async def read(socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            now = datetime.now(UTC)
            for frame in decoder.decode(message.data).frames:
                latencies.extend(1000 * (now - event.received_at).total_seconds() for event in frame.events)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http, asyncio.TaskGroup() as group:
        sockets = [await http.ws_connect(f"ws://{HOST}:{port}{STREAM}", max_msg_size=0) for _ in range(WATCHERS)]
        for socket in sockets:
            await socket.receive()  # the hello message: from now on the client receives every frame
        reading = [group.create_task(read(socket)) for socket in sockets]
        ready.set()
        await ended.wait()
        for task in reading:
            task.cancel()
