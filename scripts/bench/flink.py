"""The engine of Flink: throughput with checkpoints on, processor time and state of an event, and latency.

The log is full before the job starts, so that no sender shares the cores with it. Each TaskManager has a core of its
own, which it still shares with the broker and with whatever else the machine does. So processor time says more than
rates: that of an event, and that of a second without events, in which the job only makes its checkpoint. On two cores,
two TaskManagers have no core for themselves: the broker and the JobManager run on the same ones.
"""

import asyncio
import json
import os
import random
import re
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import aiohttp
import uvloop
from confluent_kafka import Consumer, Producer
from msgspec.structs import replace

from helios.adapters import kafka_topics
from helios.messages import Topics, count_key, decode_count, topics
from helios.model.events import Delivery, Event
from helios.processes.ports import HOST
from helios.processes.process import Process, scrubbed_environment
from helios.reconciliation import declaration
from helios.reconciliation.fold import Fold
from helios.services.reading import message_of, read
from local.servers.apache_flink import environment
from local.servers.apache_flink.cluster import FlinkCluster
from local.servers.apache_flink.job import Job, submit
from local.servers.apache_kafka.cluster import Cluster
from local.stack.config import REPOSITORY
from scripts.bench.live import STREAM
from scripts.bench.orders import LEGS, delivery
from scripts.bench.payloads import TIME
from scripts.bench.report import Table, percentile
from scripts.bench.servers import Servers, api

ORDERS = 66_000
QUICK_ORDERS = 6_000
"""Each has three legs, and every twentieth event is sent twice. With fewer orders, Java still compiles, and each of two
TaskManagers does that for itself."""
WARM = 0.3
"""The share of the deliveries that the job reads before the measurement begins: they also load and compile code."""
MEASURED = 0.95
"""The share at whose end the measurement ends, while the log is still full."""
PARTITIONS = 4
INTERVAL_MS = 1_000
RATES = (100, 250, 500, 1_000)
"""Events per second while the latency is measured, until one misses the goal."""
GOAL_MS = 3_000
IDLE_SECONDS = 15
"""How long the job is observed without events."""
RATE_SECONDS = 20
QUICK_RATE_SECONDS = 8
QUIET = """
[[flow]]
name = "quiet"
key = "order_id"
window_seconds = 3
grace_seconds = 2

[[flow.leg]]
name = "begin"
type = "QuietBegun"

[[flow.leg]]
name = "end"
type = "QuietEnded"
"""
"""A flow whose second leg never arrives."""
QUIET_DEADLINE = 5.0
QUIET_GOAL = 10.0
"""How many seconds after its deadline a missing leg is reported at last."""
MOST_THREADS = 10
_WAIT_SECONDS = 180
"""The longest wait for events to be processed: what takes longer ends the run."""
QUIET_ORDERS = 5
_POLL_SECONDS = 0.05

Message = tuple[str, bytes]


class _Point(NamedTuple):
    """What is known at a moment.

    Attributes:
        at: seconds.
        deliveries: those that are counted.
        cpu: processor seconds of each TaskManager.
        threads: processor seconds of the threads of all of them, by their names.
    """

    at: float
    deliveries: int
    cpu: tuple[float, ...]
    threads: Mapping[str, float]


class _Bench:
    """A broker, and clusters of Flink beside it.

    Attributes:
        folder: a folder for data and logs.
        kafka: the broker.
    """

    def __init__(self, folder: Path, kafka: Cluster) -> None:
        self.folder = folder
        self.kafka = kafka

    def log(self, partitions: int) -> Topics:
        """New topics."""
        names = topics(f"bench-{uuid.uuid4().hex[:8]}")
        kafka_topics.create(
            self.kafka.brokers, names, properties={}, partitions=partitions, replicas=1, retention_days=1
        )
        return names

    def append(self, names: Topics, messages: Sequence[Message]) -> None:
        """Append messages, and return once they are in the log."""
        producer = Producer({"bootstrap.servers": self.kafka.brokers, "enable.idempotence": True})
        for key, value in messages:
            while True:
                try:
                    producer.produce(names.deliveries, value, key)
                except BufferError:
                    producer.poll(1)
                else:
                    break
        producer.flush()

    @contextmanager
    def job(self, names: Topics, managers: int, **settings: str) -> Iterator[tuple[FlinkCluster, Job]]:
        """The job on this number of TaskManagers, each of them on a core of its own."""
        folder = self.folder / names.deliveries
        with FlinkCluster(folder, taskmanagers=managers) as flink:
            cores = sorted(os.sched_getaffinity(0))
            for number, manager in enumerate(flink.taskmanagers):
                _pin(manager.pid, cores[number % len(cores)])
            submission = submit(
                flink,
                settings={
                    "HELIOS_LOG_BROKERS": self.kafka.brokers,
                    "HELIOS_LOG_PREFIX": names.deliveries.rpartition(".")[0],
                    **settings,
                },
                checkpoints=folder / "checkpoints",
                log=folder / "submit.log",
                parallelism=managers,
                interval_ms=INTERVAL_MS,
            )
            submission.job.wait_running()
            yield flink, submission.job


def measure(running: Servers, *, quick: bool, events: int | None = None) -> list[Table]:
    """The tables, with this many events in the log; without rows on a machine that can't run Flink."""
    if reason := environment.missing():
        return [Table(title="Engine of Flink", columns=(), rows=(), goal=reason)]
    with (
        tempfile.TemporaryDirectory(prefix="helios-bench-flink-") as name,
        Cluster(Path(name) / "kafka", nodes=1) as kafka,
    ):
        bench = _Bench(Path(name), kafka)
        default = QUICK_ORDERS if quick else ORDERS
        messages = _encoded(_deliveries(events // len(LEGS) if events else default))
        return [
            *_throughput(bench, messages),
            *_latencies(bench, running, QUICK_RATE_SECONDS if quick else RATE_SECONDS),
        ]


def _deliveries(orders: int) -> list[Delivery]:
    """The legs of these orders in an order that mixes them, and every twentieth delivery once more."""
    names = [uuid.uuid4().hex for _ in range(orders)]
    deliveries = [_delivery(leg, name) for name in names for leg in range(len(LEGS))]
    deliveries += deliveries[::20]
    random.Random(1).shuffle(deliveries)  # noqa: S311 - no secret
    return deliveries


def _delivery(leg: int, order: str) -> Delivery:
    """A new event of now: the job rejects those that are older than its state."""
    of_the_past = delivery(leg, order)
    now = of_the_past.received_at.isoformat(timespec="milliseconds").encode()
    return replace(of_the_past, body=of_the_past.body.replace(TIME.encode(), now))


def _encoded(deliveries: Sequence[Delivery]) -> list[Message]:
    fold = Fold(declaration.load())
    return [message_of(read(each), fold, is_redacted=False) for each in deliveries]


def _throughput(bench: _Bench, messages: Sequence[Message]) -> list[Table]:
    """With one TaskManager and with two, and the size of the state of one."""
    rows: list[tuple[float, ...]] = []
    state: list[tuple[str, int, float]] = []
    threads: list[tuple[str, float]] = []
    for managers in (1, 2):
        names = bench.log(PARTITIONS)
        bench.append(names, messages)
        with bench.job(names, managers) as (flink, job):
            points = _follow(bench.kafka.brokers, names, flink, len(messages))
            rows.append((managers, *_figures(*points)))
            if managers == 1:
                threads = _threads_of_event(*points[:2])
                state = _state(job, identities=len(messages) * 20 // 21)
    speed_up = rows[1][-1] / rows[0][-1]
    return [
        Table(
            title="Engine of Flink: exactly once, a checkpoint a second",
            columns=(
                "TaskManagers",
                "events/s",
                "CPU of a second without events, ms",
                "CPU of an event and its share of that, µs",
                "events/s if each had a core",
            ),
            rows=rows,
            goal="CPU: of the TaskManagers, Java and Python. The last column: what the busiest of them lets the job "
            f"process on a core, {speed_up:.2f} times as much with two (goal: 1.8). Three legs an order, 5 % of the "
            f"deliveries repeated. The broker and the JobManager run on the same {len(os.sched_getaffinity(0))} cores.",
        ),
        Table(
            title="One TaskManager: where an event's processor time goes",
            columns=("thread", "µs"),
            rows=threads,
            goal="by the beginnings of their names. Python runs in those of the operators; C1 and C2 compile Java.",
        ),
        Table(
            title="State of the job",
            columns=("of each", "number", "bytes"),
            rows=state,
            goal="with keys and timers, as RocksDB has them in a checkpoint",
        ),
    ]


def _figures(begin: _Point, end: _Point, idle: _Point, later: _Point) -> tuple[float, float, float, float]:
    """Events per second, milliseconds without events, microseconds of an event, and events per second on full cores.

    An event bears its share of the checkpoints: a large one on a machine that lets the job process few events a second.
    """
    events = end.deliveries - begin.deliveries
    without = sum(later.cpu) - sum(idle.cpu)
    of_event = [(after - before) / events for before, after in zip(begin.cpu, end.cpu, strict=True)]
    rate = events / (end.at - begin.at)
    return rate, 1e3 * without / (later.at - idle.at), 1e6 * sum(of_event), 1 / max(of_event)


def _threads_of_event(begin: _Point, end: _Point) -> list[tuple[str, float]]:
    """The threads with the most processor time between two points, in microseconds for each event."""
    events = end.deliveries - begin.deliveries
    spent = {name: 1e6 * (total - begin.threads.get(name, 0)) / events for name, total in end.threads.items()}
    ranked = sorted(spent.items(), key=itemgetter(1), reverse=True)
    rest = sum(time for _, time in ranked[MOST_THREADS:])
    return [*ranked[:MOST_THREADS], ("all others", rest)]


def _follow(brokers: str, names: Topics, flink: FlinkCluster, total: int) -> tuple[_Point, _Point, _Point, _Point]:
    """The moments at which WARM and MEASURED of all deliveries are counted, and the ends of a while without events."""
    counts: dict[str, int] = {}
    points: list[_Point] = []

    def take(value: bytes) -> bool:
        count = decode_count(value)
        counts[count_key(count)] = count.received
        return False

    def has_counted(share: float) -> bool:
        return sum(counts.values()) >= share * total

    def note() -> None:
        cpu = tuple(_cpu_seconds(manager.pid) for manager in flink.taskmanagers)
        threads: defaultdict[str, float] = defaultdict(float)
        for manager in flink.taskmanagers:
            for name, seconds in _threads(manager.pid):
                threads[name] += seconds
        points.append(_Point(time.perf_counter(), sum(counts.values()), cpu, threads))

    for share in (WARM, MEASURED):
        _consume(brokers, names.counts, take, until=partial(has_counted, share))
        note()
    _consume(brokers, names.counts, take, until=partial(has_counted, 1))
    time.sleep(INTERVAL_MS / 1e3)
    for pause in (0, IDLE_SECONDS):
        time.sleep(pause)
        note()
    begin, end, idle, later = points
    return begin, end, idle, later


def _consume(brokers: str, topic: str, take: Callable[[bytes], object], *, until: Callable[[], bool]) -> None:
    """Read a topic from its beginning until something holds."""
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": f"bench-{uuid.uuid4().hex}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])
    deadline = time.monotonic() + _WAIT_SECONDS
    try:
        while not until():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic} was not complete within {_WAIT_SECONDS} s")
            for message in consumer.consume(1000, _POLL_SECONDS):
                if not message.error():
                    take(bytes(message.value() or b""))
    finally:
        consumer.close()


def _pin(pid: int, core: int) -> None:
    """Let all threads of a process run on one core; those that it starts later inherit that."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):  # it has ended meanwhile
            os.sched_setaffinity(int(thread.name), {core})


def _cpu_seconds(pid: int) -> float:
    """The processor time of all threads of a process (Linux, proc(5), "/proc/pid/stat")."""
    return _name_and_seconds(Path(f"/proc/{pid}/stat"))[1]


def _threads(pid: int) -> Iterator[tuple[str, float]]:
    """The threads of a process, by the beginnings of their names, with the processor time of each."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            name, spent = _name_and_seconds(thread / "stat")
            yield _NUMBERS.sub("", name).strip(), spent


_NUMBERS = re.compile(r"[-# (]+\d.*")
"""What distinguishes threads that do the same."""


def _name_and_seconds(file: Path) -> tuple[str, float]:
    head, _, tail = file.read_text().rpartition(")")
    fields = tail.split()
    return head.partition("(")[2], (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _state(job: Job, *, identities: int) -> list[tuple[str, int, float]]:
    """The bytes of an identity and of an order in the last checkpoint."""
    sizes = job.state_bytes()
    orders = identities // len(LEGS)
    return [
        ("identity", identities, _of_operator(sizes, "identify") / identities),
        ("order of three legs", orders, _of_operator(sizes, "judge") / orders),
    ]


def _of_operator(sizes: dict[str, int], name: str) -> int:
    return sum(size for task, size in sizes.items() if name in task)


def _latencies(bench: _Bench, running: Servers, seconds: int) -> list[Table]:
    """From the append to the WebSocket, with one TaskManager, a projector, Postgres and the API."""
    names = bench.log(1)
    rows = []
    flows = bench.folder / "flows.toml"
    flows.write_text(declaration.shipped_text() + QUIET)
    with ExitStack() as stack:
        stack.enter_context(bench.job(names, 1, HELIOS_FLOWS_FILE=str(flows)))
        port = stack.enter_context(_projected(bench, names, running, HELIOS_FLOWS_FILE=str(flows)))
        uvloop.run(_latency(bench, names, port, RATES[0], seconds))  # loads code
        for rate in RATES:
            rows.append(uvloop.run(_latency(bench, names, port, rate, seconds)))
            if rows[-1][3] >= GOAL_MS:
                break
        quiet = uvloop.run(_quiet(bench, names, port))
    running.empty()
    return [
        Table(
            title="Engine of Flink: from the append to the WebSocket, ms",
            columns=("events/s", "appended events/s", "p50", "p99", "received of appended"),
            rows=rows,
            goal=f"goal: p99 below {GOAL_MS} at {RATES[-1]} events/s; after a rate that misses it, no higher one "
            "follows. The log has one partition, whose order says when an event that no frame shows has arrived.",
        ),
        Table(
            title="Engine of Flink: a missing leg on a quiet log",
            columns=("orders", "reported", "seconds after the deadline, median", "most"),
            rows=[(QUIET_ORDERS, len(quiet), percentile(quiet, 50), max(quiet))] if quiet else [],
            goal=f"on the WebSocket; goal: at most {QUIET_GOAL:g}. Nothing but heartbeats is in the log meanwhile.",
        ),
    ]


@contextmanager
def _projected(bench: _Bench, names: Topics, running: Servers, **more: str) -> Iterator[int]:
    """A projector and the API, which run during the block; the API's port."""
    settings = {
        "HELIOS_ENGINE": "flink",
        "HELIOS_LOG_BROKERS": bench.kafka.brokers,
        "HELIOS_LOG_PREFIX": names.deliveries.rpartition(".")[0],
        **more,
    }
    variables = scrubbed_environment(
        HELIOS_DATABASE_URL=running.database_url, HELIOS_REDIS_URL=running.redis_url, **settings
    )
    command = [sys.executable, "-m", "helios", "projector"]
    log = running.folder / "projector.log"
    with api(running, **settings) as (port, _), Process("projector", command, log=log, env=variables, cwd=REPOSITORY):
        yield port


async def _latency(
    bench: _Bench, names: Topics, port: int, rate: int, seconds: int
) -> tuple[int, float, float, float, str]:
    """Append events of orders of three legs by a schedule, and see when a client of the live stream has them."""
    orders = [uuid.uuid4().hex for _ in range(rate * seconds // len(LEGS) + 1)]
    deliveries = [_delivery(leg, order) for order in orders for leg in range(len(LEGS))]
    messages = _encoded(deliveries)
    positions = {_id(each): place for place, each in enumerate(deliveries)}
    sent: list[float] = []
    arrivals: list[float] = []

    def arrived(frame: dict[str, list[dict[str, str]]]) -> None:
        """Every event up to the last one of a frame has arrived: the log has one order."""
        now = time.perf_counter()
        last = max((positions[event["id"]] for event in frame["events"] if event["id"] in positions), default=-1)
        arrivals.extend([now] * (last + 1 - len(arrivals)))

    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"ws://{HOST}:{port}{STREAM}", max_msg_size=0) as socket,
    ):
        await socket.receive()  # the hello message: from now on the client receives every frame
        receiving = asyncio.create_task(_receive(socket, arrived))
        producer = Producer({"bootstrap.servers": bench.kafka.brokers, "enable.idempotence": True, "linger.ms": 5})
        began = time.perf_counter()
        for number, (key, value) in enumerate(messages):
            if (pause := began + number / rate - time.perf_counter()) > 0:
                await asyncio.sleep(pause)
            sent.append(time.perf_counter())
            producer.produce(names.deliveries, value, key)
            producer.poll(0)
        took = time.perf_counter() - began
        deadline = time.monotonic() + _WAIT_SECONDS
        while len(arrivals) < len(sent) and time.monotonic() < deadline:  # noqa: ASYNC110 - frames, not one event
            await asyncio.sleep(_POLL_SECONDS)
        receiving.cancel()
        producer.flush(1)  # what it has not heard of yet has arrived
    delays = [1e3 * (end - start) for start, end in zip(sent, arrivals, strict=False)]
    received = f"{len(delays)} of {len(sent)}"
    return rate, len(sent) / took, percentile(delays, 50), percentile(delays, 99), received


async def _quiet(bench: _Bench, names: Topics, port: int) -> list[float]:
    """Append one leg of a few orders, and nothing afterwards; the seconds from each deadline to its report."""
    sent: dict[str, float] = {}
    late: dict[str, float] = {}

    def arrived(frame: dict[str, list[dict[str, str]]]) -> None:
        for change in frame["flows"]:
            if change["status"] == "incomplete" and change["key"] in sent:
                late.setdefault(change["key"], time.time() - sent[change["key"]] - QUIET_DEADLINE)

    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"ws://{HOST}:{port}{STREAM}", max_msg_size=0) as socket,
    ):
        await socket.receive()
        receiving = asyncio.create_task(_receive(socket, arrived))
        deliveries = {order: _quiet_delivery(order) for order in (uuid.uuid4().hex for _ in range(QUIET_ORDERS))}
        sent |= {order: delivery.received_at.timestamp() for order, delivery in deliveries.items()}
        await asyncio.to_thread(bench.append, names, _encoded(list(deliveries.values())))
        deadline = time.monotonic() + _WAIT_SECONDS
        while len(late) < QUIET_ORDERS and time.monotonic() < deadline:  # noqa: ASYNC110 - frames, not one event
            await asyncio.sleep(_POLL_SECONDS)
        receiving.cancel()
    return sorted(late.values())


def _quiet_delivery(order: str) -> Delivery:
    """A new event of the first leg of QUIET."""
    each = _delivery(0, order)
    return replace(each, body=each.body.replace(b"OrderPlaced", b"QuietBegun"))


async def _receive(
    socket: aiohttp.ClientWebSocketResponse, arrived: Callable[[dict[str, list[dict[str, str]]]], None]
) -> None:
    async for message in socket:
        for frame in json.loads(message.data).get("frames", ()):
            arrived(frame)


def _id(each: Delivery) -> str:
    """The id of an event."""
    content = read(each).content
    assert isinstance(content, Event)  # noqa: S101 - for mypy
    return content.id
