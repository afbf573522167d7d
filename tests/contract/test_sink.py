"""Passing stored events on: whatever the sink, all that is stored arrives, and nothing that is not."""

from collections import Counter
from datetime import UTC, datetime
from itertools import count

import pytest
from msgspec import Raw

from helios.adapters.kafka import MAX_TOPIC_CHARS, KafkaSink, headers_of, key_of, topic_of
from helios.adapters.memory import MemoryOutbox, MemorySink, NoSeen
from helios.adapters.postgres.outbox import PostgresOutbox
from helios.errors import Misconfigured, Retryable
from helios.event import Event
from helios.flows.ingest import ingest
from helios.flows.sink import BATCH, sink
from tests.support.deliveries import NOON, eventbridge, eventgrid, poison

topics = (f"test-{number}" for number in count())


def event(id_: str = "1", **given) -> Event:
    known = {"source": "aws", "type": "OrderPlaced", "subject": "orders/1", "origin": "shop/1/eu", "order_id": "ORD-1"}
    times = {"time": NOON, "received_at": NOON, "customer_id": None, "amount": None, "digest": "00"}
    return Event(id=id_, data=Raw(b'{"n":%s}' % id_.encode()), **(known | times | given))


class Recorded:
    """What arrived, for either sink."""

    def __init__(self, target, arrived):
        self.target = target
        self.arrived = arrived


@pytest.fixture(params=["memory", "kafka"])
def recorded(request):
    """Every EventSink we ship; each passes every test below."""
    if request.param == "memory":
        memory = MemorySink()
        yield Recorded(memory, lambda number: [one.id for one in memory.sent][:number])
        return
    kafka, topic = request.getfixturevalue("kafka"), next(topics)
    target = KafkaSink(kafka.brokers, topic=topic, timeout_seconds=20)
    yield Recorded(target, lambda number: [one.headers["ce_id"] for one in kafka.messages(topic, number)])
    target.close()


@pytest.fixture
def store(postgres_store):
    return postgres_store


@pytest.fixture
def outbox(pool):
    return PostgresOutbox(pool)


def take_in(store, *deliveries) -> None:
    ingest(deliveries, seen=NoSeen(), store=store)


def test_events_arrive_in_the_order_given(recorded):
    recorded.target.probe()
    recorded.target.send([event(str(number)) for number in range(50)])

    assert recorded.arrived(50) == [str(number) for number in range(50)]


def test_all_that_is_stored_is_passed_on_once_and_nothing_else(recorded, store, outbox):
    take_in(store, eventbridge("1"), eventgrid("1"), poison(), eventbridge("1"))
    take_in(store, eventbridge("1"))
    take_in(store, eventbridge("2"))

    assert sink("kafka", outbox=outbox, target=recorded.target) == 3
    assert sink("kafka", outbox=outbox, target=recorded.target) == 0
    take_in(store, eventbridge("3"))
    assert sink("kafka", outbox=outbox, target=recorded.target) == 1
    assert Counter(recorded.arrived(4)) == Counter({"1": 2, "2": 1, "3": 1})


def test_what_was_not_acknowledged_is_sent_again(store, outbox):
    target = MemorySink()
    take_in(store, eventbridge("1"))
    target.away = True
    with pytest.raises(Retryable):
        sink("kafka", outbox=outbox, target=target)
    target.away = False

    assert sink("kafka", outbox=outbox, target=target) == 1
    assert [one.id for one in target.sent] == ["1"]


def test_a_backlog_goes_in_pieces(store, outbox):
    target = MemorySink()
    for number in range(BATCH + 3):
        take_in(store, eventbridge(str(number)))

    assert [sink("kafka", outbox=outbox, target=target) for _ in range(3)] == [BATCH, 3, 0]
    assert [one.id for one in target.sent] == [str(number) for number in range(BATCH + 3)]


def test_two_sinks_at_once_share_the_work(memory_store):
    """In memory as in Postgres, whose cursor is held by one at a time."""
    outbox = MemoryOutbox(memory_store)
    take_in(memory_store, eventbridge("1"))
    first, second = MemorySink(), MemorySink()

    assert sink("kafka", outbox=outbox, target=first) == 1
    assert sink("kafka", outbox=outbox, target=second) == 0
    assert sink("another", outbox=outbox, target=second) == 1


def test_brokers_that_are_away_are_named_and_found_again(kafka):
    topic = next(topics)
    target = KafkaSink(kafka.brokers, topic=topic, timeout_seconds=4)
    target.send([event("1")])
    kafka.kill()
    try:
        with pytest.raises(Retryable, match="Kafka"):
            target.probe()
        with pytest.raises(Retryable, match="0 of 1 events were acknowledged"):
            target.send([event("2")])
    finally:
        kafka.start()
    patient = KafkaSink(kafka.brokers, topic=topic, timeout_seconds=20)
    patient.send([event("2")])
    patient.close()

    assert [one.headers["ce_id"] for one in kafka.messages(topic, 1)] == ["2"]


def test_a_message_is_a_cloudevent_in_binary_mode(kafka):
    target = KafkaSink(kafka.brokers, topic="shop.{source}.{type}", timeout_seconds=20)
    target.send([event("7", source="azure", type="Stock Reserved", time=datetime(2025, 11, 26, 12, 0, 1, tzinfo=UTC))])
    target.close()
    (message,) = kafka.messages("shop.azure.Stock-Reserved", 1)

    assert (message.key, message.data) == ("ORD-1", {"n": 7})
    assert message.headers == {
        "ce_specversion": "1.0",
        "ce_id": "7",
        "ce_source": "shop/1/eu",
        "ce_type": "Stock Reserved",
        "ce_subject": "orders/1",
        "ce_time": "2025-11-26T12:00:01Z",
        "ce_cloud": "azure",
        "content-type": "application/json",
    }


def test_names_that_kafka_would_refuse_are_changed():
    assert topic_of(event(type="a/b c"), "t.{type}") == "t.a-b-c"
    assert topic_of(event(type=".."), "{type}") == "-"
    assert len(topic_of(event(type="x" * 256), "{type}")) == MAX_TOPIC_CHARS


def test_an_event_of_no_order_has_a_key_of_its_own():
    assert key_of(event("9", order_id=None)) == "aws/9"
    assert ("ce_source", b"aws") in headers_of(event(origin=""))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"topic": "{order}"}, "HELIOS_KAFKA_TOPIC"),
        ({"config_file": "/nowhere"}, "HELIOS_KAFKA_CONFIG: /nowhere: No such file"),
    ],
)
def test_what_is_wrong_with_a_setting_is_named(given, message):
    with pytest.raises(Misconfigured, match=message):
        KafkaSink("127.0.0.1:9", **({"topic": "t", "timeout_seconds": 1} | given))


def test_a_file_adds_properties_and_a_wrong_line_is_not_shown(tmp_path, kafka):
    file = tmp_path / "kafka.properties"
    file.write_text("# TLS\nclient.id = shop\n\n")
    sink_with_file = KafkaSink(kafka.brokers, topic=next(topics), timeout_seconds=20, config_file=str(file))
    sink_with_file.probe()
    sink_with_file.close()
    file.write_text("sasl.password hush\n")
    with pytest.raises(Misconfigured, match="not name=value") as error:
        KafkaSink(kafka.brokers, topic="t", timeout_seconds=1, config_file=str(file))
    assert "hush" not in str(error.value)
