"""``helios erase`` and Apache Kafka: after compaction no broker has the erased value on its disk."""

import json
import subprocess
import sys
from typing import Any

import pytest

from helios.adapters.kafka import KafkaSink
from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.stream import PostgresOutbox
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.processes.process import scrubbed_environment
from helios.services.ingest import ingest
from helios.services.sink import KAFKA, sink
from tests.fixtures.apache_kafka import Topic, event_id, key
from tests.support.api import ROOT
from tests.support.deliveries import eventbridge
from tests.support.waiting import eventually

ADA, ADAS_ORDER, OTHERS_ORDER = "CUST-ADA-7351", "ORD-ADA-7351", "ORD-OTHER-7351"
COMPACTION_SECONDS = 60

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
    target = KafkaSink(apache_kafka.brokers, topic=topic_name, timeout_seconds=20, config_file=str(properties))

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
    environment = scrubbed_environment(
        HELIOS_DATABASE_URL=database_url,
        HELIOS_ERASURE_SECRET="s" * 32,
        HELIOS_KAFKA_BROKERS=brokers,
        HELIOS_KAFKA_TOPIC=topic,
        HELIOS_KAFKA_CONFIG=str(properties),
    )
    command = [sys.executable, "-m", "helios", "erase", "--customer", customer]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)
