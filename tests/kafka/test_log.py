"""The log on real brokers: its topics, and an append that is durable or fails."""

import contextlib
import time
from collections import Counter

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, Consumer, Producer
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined] # documented

from helios.__main__ import main
from helios.adapters import kafka_topics
from helios.adapters.kafka_log import KafkaHeartbeats, KafkaLog, KafkaLogReader
from helios.errors import HeliosError, Retryable
from helios.messages import Heartbeat, decode_delivery, topics
from helios.ports.log import LogMessage, Progress
from tests.fixtures.apache_kafka import READ_SECONDS, Topic, key, persistently
from tests.support.deliveries import NOON
from tests.support.waiting import awaited, eventually


@pytest.fixture
def log_topics(apache_kafka, topic_name, monkeypatch, capsys):
    """The topics of a log that ``helios log create`` has created."""
    monkeypatch.setenv("HELIOS_ENGINE", "flink")
    monkeypatch.setenv("HELIOS_LOG_BROKERS", apache_kafka.brokers)
    monkeypatch.setenv("HELIOS_LOG_PREFIX", topic_name)
    names = topics(topic_name)
    for expected in (f"created: {', '.join(sorted(names))}", "created: nothing, the topics exist"):
        assert main(["log", "create", "--partitions", "3"]) == 0
        output = capsys.readouterr().out.removeprefix("created: ").strip()
        assert f"created: {', '.join(sorted(output.split(', ')))}" == expected
    return names


def test_topics_have_the_configuration_that_they_need(apache_kafka, log_topics):
    client = AdminClient({"bootstrap.servers": apache_kafka.brokers})
    wanted = {ConfigResource(ResourceType.TOPIC, name): name for name in log_topics}
    configs = persistently(  # a broker may not know a new topic yet
        lambda: {
            wanted[resource]: {name: entry.value for name, entry in future.result(30).items()}
            for resource, future in client.describe_configs(list(wanted)).items()
        }
    )
    for name, config in kafka_topics.configuration(log_topics, replicas=3, retention_days=7).items():
        assert {setting: configs[name][setting] for setting in config} == config
    assert {configs[name]["cleanup.policy"] for name in (log_topics.verdicts, log_topics.counts)} == {"compact"}
    assert configs[log_topics.deliveries]["min.insync.replicas"] == "2"


def test_the_time_of_a_delivery_is_that_of_the_brokers(apache_kafka, log_topics):
    """The clock of this client is most of an hour ahead, which is the most that brokers accept by default."""
    ahead = time.time_ns() // 1_000_000 + 3_000_000
    producer = Producer({"bootstrap.servers": apache_kafka.brokers, "log_level": 0})
    for name in (log_topics.deliveries, log_topics.events):
        producer.produce(name, b"1", timestamp=ahead)
    assert producer.flush(30) == 0

    times: dict[str | None, tuple[int, int]] = {}
    settings = {"bootstrap.servers": apache_kafka.brokers, "group.id": "test", "auto.offset.reset": "earliest"}
    with contextlib.closing(Consumer({**settings, "log_level": 0})) as consumer:
        consumer.subscribe([log_topics.deliveries, log_topics.events])
        while len(times) < 2:
            message = consumer.poll(30)
            assert message
            times[message.topic()] = message.timestamp()
    kind, at = times[log_topics.deliveries]
    assert kind == TIMESTAMP_LOG_APPEND_TIME
    assert at < ahead
    assert times[log_topics.events] == (TIMESTAMP_CREATE_TIME, ahead)


def test_more_replicas_than_brokers_are_refused_by_name(apache_kafka, topic_name):
    with pytest.raises(HeliosError, match=r"did not create .*deliveries.*replication"):
        kafka_topics.create(
            apache_kafka.brokers, topics(topic_name), properties={}, partitions=1, replicas=5, retention_days=1
        )


def test_an_append_needs_two_replicas_and_loses_nothing_with_one_broker_less(apache_kafka, log_topics):
    topic = Topic(apache_kafka, f"{log_topics.deliveries}-durable", min_insync_replicas=2)
    log = KafkaLog(apache_kafka.brokers, topic=topic.name, timeout_seconds=20)
    first, second, *_ = apache_kafka.nodes.values()
    log.append([("a", b"1")])
    with contextlib.ExitStack() as restored:
        first.kill()
        restored.callback(topic.await_replicas)
        restored.callback(first.start)
        log.append([("b", b"2")])
        second.kill()
        restored.callback(second.start)
        hasty = KafkaLog(apache_kafka.brokers, topic=topic.name, timeout_seconds=5)
        with pytest.raises(Retryable):
            hasty.append([("c", b"3")])
        hasty.close()
    log.append([("d", b"4")])
    log.close()

    assert {"a", "b", "d"} <= {key(message) for message in topic.messages()}


def test_the_largest_body_of_a_cloud_fits(apache_kafka, log_topics):
    log = KafkaLog(apache_kafka.brokers, topic=log_topics.deliveries, timeout_seconds=60)
    log.append([("large", b"x" * 20_000_000)])
    log.close()

    client = AdminClient({"bootstrap.servers": apache_kafka.brokers})
    assert len(client.list_topics(log_topics.deliveries, timeout=10).topics[log_topics.deliveries].partitions) == 3


def test_a_heartbeat_is_in_every_partition(apache_kafka, topic_name):
    topic = Topic(apache_kafka, topic_name, partitions=3)
    heartbeats = KafkaHeartbeats(apache_kafka.brokers, topic=topic.name, timeout_seconds=20)
    heartbeats.send(NOON)
    heartbeats.close()

    messages = topic.messages()
    assert sorted(message.partition() or 0 for message in messages) == [0, 1, 2]
    assert {decode_delivery(message.value() or b"") for message in messages} == {Heartbeat(at=NOON)}


def test_without_the_topic_there_is_no_heartbeat(apache_kafka, topic_name):
    heartbeats = KafkaHeartbeats(apache_kafka.brokers, topic=f"{topic_name}-missing", timeout_seconds=5)
    with pytest.raises(Retryable, match="missing"):
        heartbeats.send(NOON)
    heartbeats.close()


class Stored:
    """The offset of one partition in a store."""

    def __init__(self, offset: int) -> None:
        self.offset = offset

    def next_offsets(self, partitions):
        return dict.fromkeys(partitions, self.offset)


def produce(apache_kafka, topic: Topic, *values: bytes) -> None:
    """Append messages to a topic."""
    producer = Producer({"bootstrap.servers": apache_kafka.brokers, "log_level": 0})
    for value in values:
        producer.produce(topic.name, value)
    assert producer.flush(30) == 0


@pytest.fixture
def open_reader(apache_kafka, topic_name):
    """Begins to read the topic of the test where a store says, in place of the last reader."""
    with contextlib.ExitStack() as opened:

        def start(stored: Stored) -> KafkaLogReader:
            opened.close()
            reader = KafkaLogReader(apache_kafka.brokers, topics=[topic_name], group=topic_name, offsets=stored)
            opened.callback(reader.close)
            return reader

        yield start


def read_messages(reader: KafkaLogReader, number: int) -> list[LogMessage]:
    """The next messages of a reader, once there are enough of them."""
    messages: list[LogMessage] = []

    def are_enough() -> bool:
        messages.extend(reader.read(limit=100, seconds=0.2))
        return len(messages) >= number

    eventually(are_enough, seconds=READ_SECONDS, facts=lambda: messages)
    return messages


def read_until_end(reader: KafkaLogReader):
    """The messages of a reader, and where the partition ends, once the reader has reached that."""
    messages: list[LogMessage] = []

    def end():
        messages.extend(reader.read(limit=100, seconds=0.2))
        return reader.passed()

    passed = awaited(end, seconds=READ_SECONDS)
    return [message.value for message in messages], *passed.values()


def test_a_reader_whose_offset_is_beyond_the_end_begins_at_the_beginning(apache_kafka, topic_name, open_reader, caplog):
    """The topic was created again, or the cluster is another one."""
    topic = Topic(apache_kafka, topic_name, partitions=3)
    produce(apache_kafka, topic, *(str(number).encode() for number in range(60)))
    ends = Counter(message.partition() for message in topic.messages())
    reader = open_reader(Stored(5000))

    messages = read_messages(reader, 60)
    assert {message.value for message in messages} == {str(number).encode() for number in range(60)}
    assert len(messages) == 60
    assert {reader.since((topic_name, number)) for number in range(3)} == {5000}
    warnings = [record for record in caplog.records if "no message at the stored offset" in record.message]
    assert {(each.topic, each.partition, each.stored, each.end) for each in warnings} == {
        (topic_name, number, 5000, ends[number]) for number in range(3)
    }
    reader.commit({(topic_name, 0): Progress(5000, ends[0])})
    assert reader.since((topic_name, 0)) == ends[0]


def test_the_end_of_an_empty_partition_takes_back_an_offset_beyond_it(apache_kafka, topic_name, open_reader):
    Topic(apache_kafka, topic_name)

    assert read_until_end(open_reader(Stored(5000))) == ([], 0)


def test_a_topic_that_is_created_again_while_it_is_read_is_read_from_its_beginning(
    apache_kafka, topic_name, open_reader
):
    topic = Topic(apache_kafka, topic_name)
    produce(apache_kafka, topic, *[b"old"] * 10)
    reader = open_reader(stored := Stored(0))
    assert len(read_messages(reader, 10)) == 10
    reader.commit({(topic_name, 0): Progress(0, 10)})
    stored.offset = 10
    client = AdminClient({"bootstrap.servers": apache_kafka.brokers})
    client.delete_topics([topic_name])[topic_name].result(30)
    topic = persistently(lambda: Topic(apache_kafka, topic_name))  # once the brokers have deleted the first
    produce(apache_kafka, topic, b"1", b"2")

    messages: list[LogMessage] = []

    def are_read() -> bool:
        nonlocal reader
        try:
            messages.extend(reader.read(limit=100, seconds=1))
        except Retryable:  # as a projector does
            reader = open_reader(stored)
        return len(messages) >= 2

    eventually(are_read, seconds=READ_SECONDS)
    assert [message.value for message in messages] == [b"1", b"2"]
    assert reader.since((topic_name, 0)) == 10
