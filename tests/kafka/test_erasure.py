"""``helios erase`` and Apache Kafka: after compaction no broker has the erased value on its disk."""

import base64
import json
import signal
import subprocess
import sys
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined] # it is in its documentation
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from helios.adapters import kafka_topics
from helios.adapters.kafka import KafkaSink
from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.stream import PostgresOutbox
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.messages import ErasureMessage, topics
from helios.processes.process import scrubbed_environment
from helios.services.ingest import ingest
from helios.services.sink import KAFKA, sink
from tests.fixtures.apache_kafka import Topic, event_id, key
from tests.support.api import ROOT
from tests.support.crash import KAFKA_ERASURE_STEPS
from tests.support.deliveries import eventbridge
from tests.support.waiting import eventually

ADA, ADAS_ORDER, OTHERS_ORDER = "CUST-ADA-7351", "ORD-ADA-7351", "ORD-OTHER-7351"
COMPACTION_SECONDS = 60

DELETABLE = ConfigEntry("cleanup.policy", "delete", incremental_operation=AlterConfigOpType.SET)

COMPACTED: dict[str, Any] = {
    "cleanup_policy": "compact",
    "segment_ms": 100,
    "min_cleanable_dirty_ratio": 0.01,
    "delete_retention_ms": 100,
    "file_delete_delay_ms": 100,
}
"""Compaction within seconds instead of days. It leaves the newest segment, so a test goes on sending."""


@pytest.fixture
def properties(tmp_path):
    """A configuration of the client without compression, so that a file of the log can be searched for a value."""
    file = tmp_path / "kafka.properties"
    file.write_text("compression.type=none\n")
    return file


def order(id_, order_id, customer):
    return eventbridge(id_, detail={"order_id": order_id, "customer_id": customer, "amount": 10.5})


def on_disk(cluster, topic, text):
    """The brokers whose log of the topic has the text."""
    return {
        node.number
        for node in cluster.nodes.values()
        for file in node.data.glob(f"{topic.name}-0/*")
        if text.encode() in _content(file)
    }


def _content(file):
    try:
        return file.read_bytes()
    except FileNotFoundError:  # compaction has replaced it
        return b""


def test_after_compaction_no_broker_has_the_erased_value(
    apache_kafka, topic_name, pool, database_url, properties, tmp_path
):
    topic = Topic(apache_kafka, topic_name, **COMPACTED)
    store, outbox = PostgresStore(pool), PostgresOutbox(pool)
    target = KafkaSink(
        apache_kafka.brokers, topic=topic_name, timeout_seconds=20, properties={"compression.type": "none"}
    )

    def send(*deliveries):
        ingest(deliveries, dedupe=NullDedupeCache(), store=store)
        assert sink(KAFKA, outbox=outbox, target=target) == 1

    send(order("1", ADAS_ORDER, ADA), order("2", OTHERS_ORDER, "CUST-OTHER"))
    assert on_disk(apache_kafka, topic, ADA) == {1, 2, 3}

    receipt = erase(ADA, database_url, apache_kafka.brokers, topic_name, properties)
    assert (receipt["removed"]["kafka"], receipt["left"]) == (1, {})
    numbers = iter(range(100, 10_000))

    def is_erased():
        send(order(str(next(numbers)), "ORD-FILLER", "CUST-FILLER"))
        return not on_disk(apache_kafka, topic, ADA) and not on_disk(apache_kafka, topic, ADAS_ORDER)

    eventually(is_erased, seconds=COMPACTION_SECONDS)
    target.close()
    messages = {key(message): event_id(message) for message in topic.messages()}
    assert messages.keys() == {OTHERS_ORDER, "ORD-FILLER"}
    assert messages[OTHERS_ORDER] == "2"


def erase(customer, database_url, brokers, topic, properties):
    """Run ``helios erase``, and return its receipt."""
    settings = {"KAFKA_BROKERS": brokers, "KAFKA_TOPIC": topic, "KAFKA_CONFIG": str(properties)}
    ended = run(database_url, "--customer", customer, **settings)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def run(database_url, *options, step=None, **settings):
    """Run ``helios erase``, in a process that may kill itself at a step."""
    environment = scrubbed_environment(
        HELIOS_DATABASE_URL=database_url,
        HELIOS_ERASURE_SECRET="s" * 32,
        **{f"HELIOS_{name}": value for name, value in settings.items()},
    )
    crash = ["tests.support.crash", step, "-m"] if step else []
    command = [sys.executable, "-m", *crash, "helios", "erase", *options]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_receipt_names_what_the_log_still_has_and_a_scan_finds_it(
    apache_kafka, topic_name, pool, database_url, tmp_path
):
    """Of the record of the order, only what the tombstone has not replaced yet is found: the earlier message."""
    names, brokers = topics(topic_name), apache_kafka.brokers
    kafka_topics.create(brokers, names, properties={}, partitions=2, replicas=3, retention_days=2)
    ingest([order("1", ADAS_ORDER, ADA)], dedupe=NullDedupeCache(), store=PostgresStore(pool))
    record_key = json.dumps({"key": f"order/{ADAS_ORDER}"}, separators=(",", ":"))
    producer = Producer({"bootstrap.servers": brokers, "transactional.id": topic_name, "log_level": 0})
    producer.init_transactions(20)
    producer.begin_transaction()
    for topic, its_key, value in (
        (names.deliveries, ADAS_ORDER, ADA),
        (names.deliveries, OTHERS_ORDER, "CUST-OTHER"),
        (names.events, ADAS_ORDER, base64.b64encode(f"customer {ADA}".encode()).decode()),
        (names.verdicts, record_key, ADA),
    ):
        producer.produce(topic, json.dumps({"customer": value}), key=its_key)
    producer.commit_transaction(20)
    log = {
        "ENGINE": "flink",
        "LOG_BROKERS": brokers,
        "LOG_PREFIX": topic_name,
        "RETENTION": "unarchived_events=40 ids=40",
    }

    before = datetime.now(UTC)
    erased = run(database_url, "--customer", ADA, **log)
    assert erased.returncode == 0, erased.stderr
    receipt = json.loads(erased.stdout)
    days = {each["place"]: (datetime.fromisoformat(each["until"]) - before).days for each in receipt["outstanding"]}
    segment = 7  # the brokers' own segment.ms
    assert days == {
        names.deliveries: 2 + segment,
        names.events: 2 + segment,
        names.dead_letters: 2 + segment,
        names.verdicts: 2 + 1 + segment,
        "state of the job": 40,
    }
    assert receipt["removed"]["log"] == 1
    assert tombstones(brokers, names.verdicts) == {record_key: 2}
    assert {part for each in erasures(brokers, names.deliveries) for part in (each.events, each.instances) if part} == {
        (("aws", "shop.orders/123456789012/eu-central-1", "1"),),
        (("order", ADAS_ORDER),),
    }

    file = tmp_path / "receipt.json"
    file.write_text(json.dumps(receipt))
    verified = run(database_url, "--customer", ADA, "--verify", str(file), **log)
    left = {names.deliveries: 1, names.events: 1, names.verdicts: 1}
    assert (verified.returncode, json.loads(verified.stdout)["left"]) == (0, left), verified.stderr
    other = run(database_url, "--customer", "CUST-OTHER", "--verify", str(file), **log)
    assert "receipt of another value" in other.stderr
    for record in (names.deliveries, names.events, names.verdicts):
        remove_records(brokers, record)
    verified = run(database_url, "--customer", ADA, "--verify", str(file), **log)
    assert (verified.returncode, json.loads(verified.stdout)["left"]) == (0, {}), verified.stderr


@pytest.mark.parametrize("step", KAFKA_ERASURE_STEPS)
def test_a_killed_erasure_has_erased_from_kafka_when_it_has_run_again(
    apache_kafka, topic_name, pool, database_url, step
):
    """A repeated erasure does not find the events that the first one has removed from Postgres."""
    names, brokers = topics(topic_name), apache_kafka.brokers
    kafka_topics.create(brokers, names, properties={}, partitions=2, replicas=3, retention_days=2)
    sunk = Topic(apache_kafka, f"{topic_name}-sink", partitions=2, cleanup_policy="compact")
    ingest([order("1", ADAS_ORDER, ADA)], dedupe=NullDedupeCache(), store=PostgresStore(pool))
    settings = {"ENGINE": "flink", "LOG_BROKERS": brokers, "LOG_PREFIX": topic_name}
    settings |= {"RETENTION": "unarchived_events=40 ids=40", "KAFKA_BROKERS": brokers, "KAFKA_TOPIC": sunk.name}

    killed = run(database_url, "--customer", ADA, step=step, **settings)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    again = run(database_url, "--customer", ADA, **settings)

    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["left"] == {}
    record_key = json.dumps({"key": f"order/{ADAS_ORDER}"}, separators=(",", ":"))
    assert tombstones(brokers, names.verdicts).keys() == {record_key}
    assert tombstones(brokers, sunk.name).keys() == {ADAS_ORDER}
    assert {part for each in erasures(brokers, names.deliveries) for part in (each.events, each.instances) if part} == {
        (("aws", "shop.orders/123456789012/eu-central-1", "1"),),
        (("order", ADAS_ORDER),),
    }


def tombstones(brokers, topic) -> dict[str, int]:
    """The number of messages without a value, by key."""
    return Counter(bytes(each.key() or b"").decode() for each in messages_of(brokers, topic) if each.value() is None)


def erasures(brokers, topic) -> list[ErasureMessage]:
    """What the messages to the job say was erased."""
    values = [bytes(each.value() or b"") for each in messages_of(brokers, topic)]
    return [msgspec.json.decode(value, type=ErasureMessage) for value in values if b'"erasure"' in value]


def messages_of(brokers, topic) -> list[Message]:
    """All messages of two partitions."""
    with closing(consumer_of(brokers)) as consumer:
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(2)])
        found: list[Message] = []
        ended: set[int | None] = set()
        while len(ended) < 2:
            for message in consumer.consume(100, timeout=1):
                if message.error():
                    ended.add(message.partition())
                else:
                    found.append(message)
    return found


def consumer_of(brokers) -> Consumer:
    """A consumer that says where a partition ends."""
    return Consumer(
        {"bootstrap.servers": brokers, "group.id": "test", "enable.partition.eof": True, "enable.auto.commit": False}
    )


def remove_records(brokers, topic) -> None:
    """Remove all messages, as their retention does in the end; compaction alone keeps a topic from that."""
    client = AdminClient({"bootstrap.servers": brokers})
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[DELETABLE])
    for change in client.incremental_alter_configs([resource]).values():
        change.result(20)
    eventually(lambda: _are_removed(client, topic))


def _are_removed(client: AdminClient, topic: str) -> bool:
    """Whether the brokers have removed the messages. A broker refuses that until it has heard of the setting."""
    places = [TopicPartition(topic, number, -1) for number in range(2)]
    try:
        for removal in client.delete_records(places).values():
            removal.result(20)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.POLICY_VIOLATION:
            raise
        return False
    return True
