"""``helios projector`` on real brokers: what it stores survives kill -9, rebalances and aborted transactions."""

import random
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from helios import bootstrap
from helios.adapters import kafka_topics
from helios.adapters.kafka_log import KafkaLog
from helios.adapters.postgres.leases import PostgresLeases
from helios.adapters.postgres.log import PostgresProjectionProgress
from helios.errors import Rejected
from helios.messages import encode_heartbeat, job_group, topics
from helios.model.archive import FileFilter, total
from helios.model.events import EventFilter
from helios.normalise import normalise
from helios.processes.process import Process, scrubbed_environment
from helios.reconciliation.fold import Fold
from helios.services.leadership import PROJECTOR
from helios.settings import Settings
from tests.contract.test_projection import FLOWS, OVERDUE, ingested, stored
from tests.support.api import ROOT
from tests.support.deliveries import poison
from tests.support.instances import leg
from tests.support.job import Job
from tests.support.waiting import eventually

CATCH_UP_SECONDS = 90
TRANSACTION_SECONDS = 20


class TransactionalJob:
    """A job whose messages are in transactions, some of which are aborted and written again."""

    def __init__(self, brokers: str, prefix: str) -> None:
        self.topics = topics(prefix)
        self.job = Job(Fold(FLOWS), self.topics, self._write)
        self._producer = Producer({"bootstrap.servers": brokers, "transactional.id": prefix, "log_level": 0})
        self._producer.init_transactions(TRANSACTION_SECONDS)
        self._messages: list[tuple[str, str, bytes]] = []

    def _write(self, topic: str, key: str, value: bytes) -> None:
        self._messages.append((topic, key, value))

    def commit(self, *, aborted_first: bool) -> None:
        """Commit all messages so far."""
        for attempt in range(2 if aborted_first else 1):
            self._producer.begin_transaction()
            for topic, key, value in self._messages:
                self._producer.produce(topic, value, key=key)
            if aborted_first and attempt == 0:
                self._producer.flush(TRANSACTION_SECONDS)
                self._producer.abort_transaction(TRANSACTION_SECONDS)
            else:
                self._producer.commit_transaction(TRANSACTION_SECONDS)
        self._messages.clear()


@pytest.fixture
def job(apache_kafka, topic_name) -> TransactionalJob:
    """A job with topics of its own."""
    kafka_topics.create(
        apache_kafka.brokers, topics(topic_name), properties={}, partitions=3, replicas=3, retention_days=1
    )
    return TransactionalJob(apache_kafka.brokers, topic_name)


@pytest.fixture
def start_helios(apache_kafka, topic_name, database_url, server_folder, tmp_path):
    """Starts processes of the log, which end with the test."""
    properties = tmp_path / "kafka.properties"
    properties.write_text("session.timeout.ms=6000\nheartbeat.interval.ms=1000\n")
    with ExitStack() as running:

        def start(name: str, *arguments: str, **settings: str) -> Process:
            environment = scrubbed_environment(
                HELIOS_ENGINE="flink",
                HELIOS_DATABASE_URL=database_url,
                HELIOS_LOG_BROKERS=apache_kafka.brokers,
                HELIOS_LOG_PREFIX=topic_name,
                HELIOS_KAFKA_CONFIG=str(properties),
                **settings,
            )
            command = [sys.executable, "-m", "helios", *arguments]
            log = server_folder / f"{topic_name}-{name}.log"
            return running.enter_context(Process(name, command, log=log, env=environment, cwd=ROOT))

        yield start


@pytest.fixture
def start_projector(start_helios):
    """Starts projectors."""
    return lambda name: start_helios(name, "projector")


@pytest.fixture
def start_archive(start_helios, tmp_path):
    """Starts processes that archive the log, and a projector that stores no events, which end with the test."""
    settings = {"HELIOS_EVENT_STORE": "archive", "HELIOS_ARCHIVE_URL": str(tmp_path / "archive")}
    start_helios("projector", "projector", **settings)
    return lambda name: start_helios(name, "archive", "run", "--from-log", "--seconds", "1", **settings)


def orders(first: int, last: int):
    """Deliveries of orders, every seventh of which lacks a leg, with duplicates, contradictions and poison."""
    for number in range(first, last):
        key = f"ORD-{number}"
        yield leg("order", key)
        yield leg("payment", key)
        if number % 7:
            yield leg("inventory", key)
        if number % 5 == 0:
            yield leg("payment", key)
            yield leg("payment", key, amount=1)
            yield poison()


@pytest.fixture
def read_messages(pool):
    """Counts the messages that are stored, by the offsets in the database."""

    def count() -> int:
        with pool.connection() as connection:
            return connection.execute("SELECT coalesce(sum(next_offset), 0) FROM log_offsets").fetchone()[0]

    return count


def is_more(count: Callable[[], int], before: int) -> bool:
    """Whether a count has grown."""
    return count() > before


def test_a_running_projector_can_be_seen(job, start_projector, pool):
    """The health of the API looks at its lease."""
    leases = PostgresLeases(pool)
    projector = start_projector("only")
    eventually(lambda: leases.is_taken(PROJECTOR), seconds=CATCH_UP_SECONDS)
    projector.stop(seconds=20)

    eventually(lambda: not leases.is_taken(PROJECTOR), seconds=CATCH_UP_SECONDS)


def test_nothing_is_lost_or_doubled_when_projectors_are_killed(
    apache_kafka, job, start_projector, postgres_store, pool, read_messages
):
    """Two projectors divide the partitions. One that is at work is killed and replaced, again and again."""
    chance = random.Random(7)
    running = [start_projector("first"), start_projector("second")]
    deliveries = list(orders(1, 150))
    batches = [deliveries[start : start + 25] for start in range(0, len(deliveries), 25)]
    for number, batch in enumerate(batches):
        before = read_messages()
        job.job.take(batch)
        job.commit(aborted_first=number % 4 == 0)
        if number % 5 == 1:
            eventually(partial(is_more, read_messages, before), seconds=CATCH_UP_SECONDS)
            running.pop(chance.randrange(len(running))).kill()
            running.append(start_projector(f"replacement-{number}"))
    job.job.expire(OVERDUE)
    job.commit(aborted_first=True)

    expected = ingested(deliveries, expired=OVERDUE)
    eventually(lambda: stored(postgres_store) == expected, seconds=CATCH_UP_SECONDS)
    assert stored(postgres_store) == expected
    heartbeats = KafkaLog(brokers := apache_kafka.brokers, topic=job.topics.deliveries, timeout_seconds=20)
    heartbeats.append([("any", encode_heartbeat(OVERDUE))])
    heartbeats.close()
    checkpoint(brokers, job.topics)
    progress = PostgresProjectionProgress(pool)
    eventually(lambda: progress.projected_until() is not None, seconds=CATCH_UP_SECONDS)
    for projector in running:
        projector.stop(seconds=20)


def checkpoint(brokers, names) -> None:
    """Commit all deliveries as the job does with a checkpoint. Heartbeats go on, so it commits more than there is."""
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": job_group(names), "log_level": 0})
    places = [TopicPartition(names.deliveries, number, 1_000_000) for number in range(3)]
    consumer.commit(offsets=places, asynchronous=False)
    consumer.close()


def test_each_event_of_the_log_is_in_one_file_when_the_archive_is_killed(
    job, start_archive, database_url, postgres_store, pool, tmp_path
):
    """Two processes divide the partitions. One that is at work is killed and replaced, again and again."""
    opened = bootstrap.archive_on(Settings(database_url=database_url, archive_url=str(tmp_path / "archive")), pool)
    running = [start_archive("first"), start_archive("second")]
    deliveries = list(orders(1, 60))
    ids = {reading.id for each in deliveries if (reading := event_of(each))}
    for number, start in enumerate(range(0, len(deliveries), 20)):
        before = archived_rows(opened)
        job.job.take(deliveries[start : start + 20])
        job.commit(aborted_first=number % 4 == 0)
        if number % 3 == 1:
            eventually(partial(is_more, partial(archived_rows, opened), before), seconds=CATCH_UP_SECONDS)
            running.pop(0).kill()
            running.append(start_archive(f"replacement-{number}"))
    eventually(lambda: archived_rows(opened) >= len(ids), seconds=CATCH_UP_SECONDS)

    assert archived_rows(opened) == len(ids)
    found = opened.reader.events(EventFilter(), after=None, limit=500).items
    assert sorted(event.id for event in found) == sorted(ids)
    assert postgres_store.events(EventFilter(), after=None, limit=5).items == []
    for process in running:
        process.stop(seconds=20)
    assert opened.archive.unlisted() == []
    opened.close()


def archived_rows(opened) -> int:
    """The number of events in readable files."""
    return total(file.contents for file in opened.archive.manifest.files(FileFilter())).rows


def event_of(delivery):
    """The event in a delivery; None if it can't be read."""
    try:
        return normalise(delivery)
    except Rejected:
        return None
