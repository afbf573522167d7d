"""The log on real brokers: its topics, and an append that is durable or fails."""

import contextlib
import time

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, Consumer, Producer
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined] # documented

from helios.__main__ import main
from helios.adapters import kafka_topics
from helios.adapters.kafka_log import KafkaHeartbeats, KafkaLog
from helios.errors import HeliosError, Retryable
from helios.messages import Heartbeat, decode_delivery, topics
from tests.fixtures.apache_kafka import Topic, key, persistently
from tests.support.deliveries import NOON


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
