"""The engine of Flink: throughput with checkpoints on, processor time and state of an event, and latency."""

import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from confluent_kafka import Consumer, Producer

from helios.adapters import kafka_topics
from helios.messages import Topics, count_key, decode_count, decode_event, topics
from helios.model.events import Delivery
from helios.reconciliation import declaration
from helios.reconciliation.fold import Fold
from helios.services.reading import message_of, read
from local.servers.apache_flink import environment
from local.servers.apache_flink.cluster import FlinkCluster
from local.servers.apache_flink.job import Job, submit
from local.servers.apache_kafka.cluster import Cluster
from scripts.bench.orders import distinct
from scripts.bench.report import Table
from scripts.bench.servers import Servers

EVENTS = 60_000
QUICK_EVENTS = 10_000
PARTITIONS = 4
INTERVAL_MS = 1_000
RATE = 1_000
"""Events per second while the latency is measured."""
RATE_SECONDS = 20
QUICK_RATE_SECONDS = 5
_TICKS = 20
_WAIT_SECONDS = 600


class _Log:
    """A log with its job on some TaskManagers."""

    def __init__(self, kafka: Cluster, flink: FlinkCluster, job: Job, names: Topics, folder: Path) -> None:
        self.folder = folder
        self.flink = flink
        self.job = job
        self.names = names
        self._brokers = kafka.brokers
        self._fold = Fold(declaration.load())
        self._producer = Producer({"bootstrap.servers": kafka.brokers, "enable.idempotence": True, "linger.ms": 5})

    def encoded(self, deliveries: Sequence[Delivery]) -> list[tuple[str, bytes]]:
        """The messages of deliveries."""
        return [message_of(read(delivery), self._fold, is_redacted=False) for delivery in deliveries]

    def append(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Append messages."""
        for key, value in messages:
            self._producer.produce(self.names.deliveries, value, key)
            self._producer.poll(0)

    def consume(self, topic: str, take: Callable[[bytes], bool]) -> None:
        """Read a topic until ``take`` returns True."""
        consumer = Consumer(
            {"bootstrap.servers": self._brokers, "group.id": f"bench-{topic}", "auto.offset.reset": "earliest"}
        )
        consumer.subscribe([topic])
        deadline = time.monotonic() + _WAIT_SECONDS
        try:
            while time.monotonic() < deadline:
                for message in consumer.consume(1000, 0.05):
                    if not message.error() and take(bytes(message.value() or b"")):
                        return
        finally:
            consumer.close()
        raise TimeoutError(f"{topic} was not complete within {_WAIT_SECONDS} s")

    def await_total(self, expected: int) -> None:
        """Return once the job has counted this number of deliveries."""
        counts: dict[str, int] = {}

        def take(value: bytes) -> bool:
            count = decode_count(value)
            counts[count_key(count)] = count.received
            return sum(counts.values()) >= expected

        self.consume(self.names.counts, take)

    def cpu_seconds(self) -> float:
        """The processor time of the TaskManagers."""
        return sum(_cpu_seconds(manager.pid) for manager in self.flink.taskmanagers)


def _cpu_seconds(pid: int) -> float:
    """The processor time of all threads of a process (Linux, proc(5), "/proc/pid/stat")."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(_: Servers, *, quick: bool) -> list[Table]:
    """One and two TaskManagers; no rows on a machine that can't run Flink."""
    if reason := environment.missing():
        return [Table(title="Engine of Flink", columns=(), rows=(), goal=reason)]
    events = QUICK_EVENTS if quick else EVENTS
    rows = []
    for managers in (1, 2):
        with _running(managers) as log:
            seconds, cpu = _throughput(log, events)
            p50, p99 = _latency(log, QUICK_RATE_SECONDS if quick else RATE_SECONDS)
            orders = events + RATE * (QUICK_RATE_SECONDS if quick else RATE_SECONDS)
            rows.append((managers, events / seconds, 1e6 * cpu / events, p50, p99, _state_bytes(log) / orders))
    return [
        Table(
            title="Engine of Flink, exactly once, a checkpoint a second",
            columns=("TaskManagers", "events/s", "CPU µs/event", "p50 ms", "p99 ms", "state B/order"),
            rows=rows,
            goal=f"p50, p99: from the append to the committed event, at {RATE} events/s. CPU: of the TaskManagers; "
            "Kafka and the producer share the cores. Each order has one event so far.",
        )
    ]


@contextmanager
def _running(managers: int) -> Iterator[_Log]:
    """A broker, a cluster with this number of TaskManagers, and the job."""
    with (
        tempfile.TemporaryDirectory(prefix="helios-bench-flink-") as name,
        Cluster(Path(name) / "kafka", nodes=1) as kafka,
        FlinkCluster(Path(name) / "flink", taskmanagers=managers) as flink,
    ):
        names = topics("bench")
        kafka_topics.create(kafka.brokers, names, config_file=None, partitions=PARTITIONS, replicas=1, retention_days=1)
        job = submit(
            flink,
            settings={"HELIOS_LOG_BROKERS": kafka.brokers, "HELIOS_LOG_PREFIX": "bench"},
            checkpoints=Path(name) / "checkpoints",
            log=Path(name) / "submit.log",
            parallelism=managers,
            interval_ms=INTERVAL_MS,
        ).job
        job.wait_running()
        yield _Log(kafka, flink, job, names, Path(name))


def _throughput(log: _Log, events: int) -> tuple[float, float]:
    """Seconds until a backlog is counted, and the processor time of the TaskManagers for it."""
    log.append(log.encoded(distinct(1_000)))  # the first events also load code
    log.await_total(1_000)
    messages = log.encoded(distinct(events))
    start, cpu = time.perf_counter(), log.cpu_seconds()
    log.append(messages)
    log.await_total(1_000 + events)
    return time.perf_counter() - start, log.cpu_seconds() - cpu


def _latency(log: _Log, seconds: int) -> tuple[float, float]:
    """The median and the 99th percentile of the time from an append to the committed event, in milliseconds."""
    first = datetime.now(UTC)
    wanted, delays = RATE * seconds, []

    def send() -> None:
        for tick in range(seconds * _TICKS):
            pause = first.timestamp() + tick / _TICKS - time.time()
            time.sleep(max(0.0, pause))
            log.append(log.encoded(distinct(RATE // _TICKS)))

    def take(value: bytes) -> bool:
        received_at = decode_event(value).received_at
        if received_at >= first:
            delays.append(1000 * (datetime.now(UTC) - received_at).total_seconds())
        return len(delays) >= wanted

    sender = threading.Thread(target=send)
    sender.start()
    log.consume(log.names.events, take)
    sender.join()
    hundredths = statistics.quantiles(delays, n=100)
    return hundredths[49], hundredths[98]


def _state_bytes(log: _Log) -> int:
    """The size of a savepoint: all state, without what RocksDB needs beside it."""
    savepoint = Path(urlsplit(log.job.savepoint(log.folder / "savepoints")).path)
    return sum(file.stat().st_size for file in savepoint.iterdir())
