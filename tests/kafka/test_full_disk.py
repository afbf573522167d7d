"""A broker whose disk is full: the sink waits until there is room again, and loses nothing."""

from collections.abc import Iterator

import pytest

from helios.adapters.kafka_log import KafkaLog
from helios.errors import Retryable
from local.servers.apache_kafka.cluster import Cluster
from tests.fixtures.apache_kafka import Topic, key, require_apache_kafka
from tests.support import small_disk
from tests.support.small_disk import SmallDisk
from tests.support.waiting import eventually

WAIT_SECONDS = 60
MEGABYTES = 32
SMALL_FILES = {"log.segment.bytes": "1048576", "log.index.size.max.bytes": "65536"}


@pytest.fixture
def disk(tmp_path) -> Iterator[SmallDisk]:
    """A small disk."""
    if reason := small_disk.refused():
        pytest.skip(reason)
    with SmallDisk(tmp_path / "disk", megabytes=MEGABYTES, log=tmp_path / "disk.log") as running:
        yield running


@pytest.fixture
def cluster(tmp_path, disk) -> Iterator[Cluster]:
    """One broker with its data on the small disk."""
    require_apache_kafka()
    with Cluster(tmp_path / "kafka", nodes=1, settings=SMALL_FILES, data=disk.path, wrapper=disk.wrapper) as running:
        yield running


def test_a_full_disk_delays_the_events_and_loses_none(disk, cluster, topic_name, shop, start_sink):
    topic = Topic(cluster, topic_name)
    sink = start_sink(cluster.brokers)
    shop.sell(frames=3)
    eventually(lambda: shop.unsent() == 0, seconds=WAIT_SECONDS)

    disk.fill()
    shop.sell(frames=20)
    eventually(lambda: "retrying later" in sink.tail(), seconds=WAIT_SECONDS)
    assert shop.unsent() > 0
    assert "No space left on device" in cluster.nodes[1].log.read_text()

    disk.free()
    cluster.start()  # a broker ends when the only disk of its log fails
    eventually(lambda: shop.unsent() == 0, seconds=WAIT_SECONDS)
    topic.await_ids(set(shop.ids), seconds=0)
    assert shop.parked() == 0


def test_an_append_to_a_full_disk_is_refused_and_succeeds_once_there_is_room(disk, cluster, topic_name):
    """An edge answers the cloud with an error then, and the cloud sends the event again."""
    topic = Topic(cluster, topic_name)
    log = KafkaLog(cluster.brokers, topic=topic.name, timeout_seconds=5)
    log.append([("before", b"1")])
    disk.fill()
    refused = [(f"refused {number}", bytes(100_000)) for number in range(20)]

    def is_refused() -> bool:
        try:
            log.append(refused)
        except Retryable:
            return True
        return False

    eventually(is_refused, seconds=WAIT_SECONDS)
    disk.free()
    cluster.start()
    patient = KafkaLog(cluster.brokers, topic=topic.name, timeout_seconds=WAIT_SECONDS)
    patient.append([*refused, ("after", b"2")])
    for each in (log, patient):
        each.close()

    assert {key(message) for message in topic.messages()} == {"before", "after", *(name for name, _ in refused)}
