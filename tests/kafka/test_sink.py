"""The sink with Apache Kafka: what brokers acknowledged survives them, and what they did not is sent again."""

import contextlib
import json
import threading
from collections import defaultdict

import pytest
from confluent_kafka import Consumer, KafkaException, Message
from msgspec import Raw

from helios.adapters.kafka import KafkaSink
from helios.errors import Retryable
from helios.model.events import Event
from tests.fixtures.apache_kafka import Topic, event_id, headers, key
from tests.support.deliveries import NOON
from tests.support.waiting import eventually

CATCH_UP_SECONDS = 60


def event(id_: str, *, order: str = "ORD-1", type_: str = "OrderPlaced", data: bytes = b"{}") -> Event:
    return Event(
        source="aws",
        producer="shop/1/eu",
        id=id_,
        type=type_,
        subject="orders/1",
        time=NOON,
        received_at=NOON,
        data=Raw(data),
        order_id=order,
        customer_id=None,
        amount=None,
        digest="00",
    )


def first_arrivals(messages):
    """The ids of the events of each key in the order in which they first arrived."""
    arrivals: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for message in messages:
        arrivals[key(message)].setdefault(event_id(message))
    return {order: list(ids) for order, ids in arrivals.items()}


def ordered(ids):
    return {order: sorted(members) for order, members in ids.items()}


def test_a_message_is_a_cloudevent_in_binary_mode(apache_kafka, topic_name):
    topic = Topic(apache_kafka, topic_name)
    target = KafkaSink(apache_kafka.brokers, topic=topic_name, timeout_seconds=20)
    target.probe()
    assert target.send([event("1", data=b'{"n":1}')]) == []
    target.close()

    (message,) = topic.messages()
    assert (key(message), json.loads(message.value() or b"")) == ("ORD-1", {"n": 1})
    assert headers(message) == {
        "ce_specversion": "1.0",
        "ce_id": "1",
        "ce_source": "shop/1/eu",
        "ce_type": "OrderPlaced",
        "ce_subject": "orders/1",
        "ce_time": "2025-11-26T12:00:00Z",
        "ce_cloud": "aws",
        "content-type": "application/json",
    }


def test_events_that_the_brokers_refuse_do_not_block_the_others(apache_kafka, topic_name):
    """A topic that does not exist, and a message that is larger than the topic allows."""
    topic = Topic(apache_kafka, f"{topic_name}-Small", max_message_bytes=2_000)
    target = KafkaSink(apache_kafka.brokers, topic=topic_name + "-{type}", timeout_seconds=10)
    large = json.dumps({"text": [str(number) for number in range(4_000)]}).encode()

    refused = target.send(
        [
            event("1", type_="Small"),
            event("2", type_="Small", data=large),
            event("3", type_="Unknown"),
            event("4", type_="Small"),
        ]
    )
    target.close()

    reasons = {parked.key[2]: parked.reason for parked in refused}
    assert reasons.keys() == {"2", "3"}
    assert "too large" in reasons["2"].lower()
    assert "unknown" in reasons["3"].lower()
    assert [event_id(message) for message in topic.messages()] == ["1", "4"]


@pytest.mark.parametrize(("fault", "repair"), [("kill", "start"), ("pause", "resume")])
def test_a_broker_that_fails_while_the_sink_sends_loses_nothing_and_keeps_the_order_of_each_key(
    apache_kafka, topic_name, shop, start_sink, fault, repair
):
    """A killed broker ends; a frozen one still believes that it leads when it continues."""
    topic = Topic(apache_kafka, topic_name, partitions=3, min_insync_replicas=2)
    start_sink(apache_kafka.brokers)
    shop.sell(frames=10)
    eventually(lambda: shop.unsent() < 10, seconds=CATCH_UP_SECONDS)

    leader = apache_kafka.nodes[topic.leader()]
    getattr(leader, fault)()
    try:
        shop.sell(frames=30)
        eventually(lambda: shop.unsent() == 0, seconds=CATCH_UP_SECONDS)
        messages = topic.await_ids(set(shop.ids), seconds=0)  # without the failed broker: the others have them all
    finally:
        getattr(leader, repair)()

    assert first_arrivals(messages) == ordered(first_arrivals(messages))
    assert shop.parked() == 0
    topic.await_replicas()


def test_with_all_brokers_killed_the_sink_waits_and_then_sends_everything(apache_kafka, topic_name, shop, start_sink):
    topic = Topic(apache_kafka, topic_name, partitions=3, min_insync_replicas=2)
    sink = start_sink(apache_kafka.brokers)
    shop.sell(frames=3)
    eventually(lambda: shop.unsent() == 0, seconds=CATCH_UP_SECONDS)

    for node in apache_kafka.nodes.values():
        node.kill()
    try:
        shop.sell(frames=10)
        eventually(lambda: "retrying later" in sink.tail(), seconds=CATCH_UP_SECONDS)
        assert shop.unsent() == 10
    finally:
        apache_kafka.start()

    eventually(lambda: shop.unsent() == 0, seconds=CATCH_UP_SECONDS)
    messages = topic.await_ids(set(shop.ids), seconds=0)
    assert first_arrivals(messages) == ordered(first_arrivals(messages))
    assert shop.parked() == 0


def test_a_topic_with_too_few_replicas_in_sync_accepts_nothing_until_they_are_back(apache_kafka, topic_name):
    """The broker of the leader answers, so this is not a failed connection; nothing is parked, because it can pass."""
    topic = Topic(apache_kafka, topic_name, assignment=[[1, 2]], min_insync_replicas=2)
    target = KafkaSink(apache_kafka.brokers, topic=topic_name, timeout_seconds=20)
    target.send([event("1")])
    target.close()
    apache_kafka.nodes[2].kill()
    try:
        eventually(lambda: topic.in_sync() == {1}, seconds=CATCH_UP_SECONDS)
        impatient = KafkaSink(apache_kafka.brokers, topic=topic_name, timeout_seconds=15)
        with pytest.raises(Retryable, match=r"0 of 1 events were acknowledged.*, partition 0: 1 of 2 replicas in sync"):
            impatient.send([event("2")])
        impatient.close()
        assert [event_id(message) for message in topic.messages()] == ["1"]
    finally:
        apache_kafka.nodes[2].start()
    topic.await_replicas()

    again = KafkaSink(apache_kafka.brokers, topic=topic_name, timeout_seconds=20)
    assert again.send([event("2")]) == []
    again.close()
    assert [event_id(message) for message in topic.messages()] == ["1", "2"]


class Member:
    """A consumer of a group, in a thread. It commits a message after it has processed it.

    Attributes:
        partitions: the number of partitions that it has.
    """

    def __init__(self, brokers, topic, *, protocol, processed):
        properties = {"bootstrap.servers": brokers, "group.id": topic, "group.protocol": protocol}
        self._consumer = Consumer({**properties, "auto.offset.reset": "earliest", "enable.auto.commit": False})
        self._consumer.subscribe([topic])
        self._processed = processed
        self.partitions = 0
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def leave(self):
        self._leaving.set()
        self._thread.join()

    def _run(self):
        while not self._leaving.is_set():
            message = self._consumer.poll(0.1)
            self.partitions = len(self._consumer.assignment())  # asked in another thread, the client deadlocks
            if message is not None and not message.error():
                self._processed.append(message)
                with contextlib.suppress(KafkaException):  # a rebalance has begun: the next owner reads it again
                    self._consumer.commit(message=message, asynchronous=False)
        self._consumer.close()


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_group_that_rebalances_sees_every_event_in_the_order_of_its_key(
    apache_kafka, topic_name, shop, start_sink, protocol
):
    """A second consumer joins while the sink sends, and then the first one leaves."""
    Topic(apache_kafka, topic_name, partitions=4, min_insync_replicas=2)
    start_sink(apache_kafka.brokers)
    processed: list[Message] = []

    def join():
        return Member(apache_kafka.brokers, topic_name, protocol=protocol, processed=processed)

    with contextlib.ExitStack() as members:
        first = join()
        members.callback(first.leave)
        shop.sell(frames=5)
        eventually(lambda: first.partitions == 4 and len(processed) > 0, seconds=CATCH_UP_SECONDS)
        second = join()
        members.callback(second.leave)
        shop.sell(frames=10)
        eventually(lambda: first.partitions == second.partitions == 2, seconds=CATCH_UP_SECONDS)
        first.leave()
        shop.sell(frames=5)
        eventually(lambda: {event_id(message) for message in list(processed)} == set(shop.ids), seconds=60)

    assert first_arrivals(processed) == ordered(first_arrivals(processed))
