"""The contract of sinks: every stored event arrives, and no other, on every sink that Helios ships."""

from collections import Counter
from datetime import UTC, datetime
from itertools import count

import pytest
from confluent_kafka import KafkaError
from msgspec import Raw, structs

from helios.adapters.kafka import MAX_TOPIC_CHARS, KafkaSink, headers_of, key_of, topic_of
from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.stream import PostgresOutbox
from helios.bootstrap.kafka import client_properties, delivery_log, kafka_sink
from helios.errors import ConfigurationError, Retryable
from helios.model.events import Event
from helios.model.stream import Parked
from helios.services import sink as sinking
from helios.services.ingest import ingest
from helios.services.sink import BATCH, send_parked, sink
from helios.settings import Settings
from tests.fakes.store import MemoryOutbox, MemorySink, MemoryStore
from tests.support.deliveries import NOON, aws_key, eventbridge, eventgrid, poison

topics = (f"test-{number}" for number in count())


def event(id_: str = "1", **attributes) -> Event:
    defaults = {
        "source": "aws",
        "type": "OrderPlaced",
        "subject": "orders/1",
        "producer": "shop/1/eu",
        "order_id": "ORD-1",
    }
    times = {"time": NOON, "received_at": NOON, "customer_id": None, "amount": None, "digest": "00"}
    return Event(id=id_, data=Raw(b'{"n":%s}' % id_.encode()), **(defaults | times | attributes))


class SinkUnderTest:
    """A sink and the events that arrived in it."""

    def __init__(self, target, arrived):
        self.target = target
        self.arrived = arrived


@pytest.fixture(params=["memory", "kafka"])
def sink_under_test(request):
    """Every EventSink that Helios ships. Each passes every test below."""
    if request.param == "memory":
        memory = MemorySink()
        yield SinkUnderTest(memory, lambda number: [each.id for each in memory.sent][:number])
        return
    kafka, topic = request.getfixturevalue("kafka"), next(topics)
    target = KafkaSink(kafka.brokers, topic=topic, timeout_seconds=20)
    yield SinkUnderTest(target, lambda number: [message.headers["ce_id"] for message in kafka.messages(topic, number)])
    target.close()


@pytest.fixture
def outbox(store, request):
    """The outbox of the store under test."""
    return MemoryOutbox(store) if isinstance(store, MemoryStore) else PostgresOutbox(request.getfixturevalue("pool"))


def ingest_all(store, *deliveries) -> None:
    ingest(deliveries, dedupe=NullDedupeCache(), store=store)


def test_events_arrive_in_the_given_order(sink_under_test):
    sink_under_test.target.probe()
    sink_under_test.target.send([event(str(number)) for number in range(50)])

    assert sink_under_test.arrived(50) == [str(number) for number in range(50)]


def test_every_stored_event_is_sent_once_and_no_other(sink_under_test, store, outbox):
    ingest_all(store, eventbridge("1"), eventgrid("1"), poison(), eventbridge("1"))
    ingest_all(store, eventbridge("1"))
    ingest_all(store, eventbridge("2"))

    assert sink("kafka", outbox=outbox, target=sink_under_test.target) == 3
    assert sink("kafka", outbox=outbox, target=sink_under_test.target) == 0
    ingest_all(store, eventbridge("3"))
    assert sink("kafka", outbox=outbox, target=sink_under_test.target) == 1
    assert Counter(sink_under_test.arrived(4)) == Counter({"1": 2, "2": 1, "3": 1})


def test_an_unacknowledged_event_is_sent_again(store, outbox):
    target = MemorySink()
    ingest_all(store, eventbridge("1"))
    target.away = True
    with pytest.raises(Retryable):
        sink("kafka", outbox=outbox, target=target)
    target.away = False

    assert sink("kafka", outbox=outbox, target=target) == 1
    assert [each.id for each in target.sent] == ["1"]


def test_a_backlog_is_sent_in_batches(store, outbox):
    target = MemorySink()
    for number in range(BATCH + 3):
        ingest_all(store, eventbridge(str(number)))

    assert [sink("kafka", outbox=outbox, target=target) for _ in range(3)] == [BATCH, 3, 0]
    assert [each.id for each in target.sent] == [str(number) for number in range(BATCH + 3)]


def test_two_sinks_of_one_consumer_share_the_work(memory_store):
    """The memory outbox, like Postgres, lets one sink at a time use a consumer's offset."""
    outbox = MemoryOutbox(memory_store)
    ingest_all(memory_store, eventbridge("1"))
    first, second = MemorySink(), MemorySink()

    assert sink("kafka", outbox=outbox, target=first) == 1
    assert sink("kafka", outbox=outbox, target=second) == 0
    assert sink("another", outbox=outbox, target=second) == 1


def test_unavailable_brokers_are_retryable_and_reconnected(kafka):
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

    assert [message.headers["ce_id"] for message in kafka.messages(topic, 1)] == ["2"]


REFUSALS = {
    "of a missing topic": KafkaError.UNKNOWN_TOPIC_OR_PART,
    "of a topic without permission": KafkaError.TOPIC_AUTHORIZATION_FAILED,
}


@pytest.fixture
def strict(refusing_kafka):
    """A sink whose topics are the events' types, on a cluster that can refuse. What it sends at once is one request."""
    properties = {"linger.ms": "1000"}  # until the sink flushes
    target = KafkaSink(refusing_kafka.brokers, topic="{type}", timeout_seconds=8, properties=properties)
    yield target
    target.close()


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_refused_event_does_not_block_the_others(refusal, refusing_kafka, strict):
    """The sink returns the refused event with the reason, each time it is sent."""
    refusing_kafka.refuse_topic("Refused", REFUSALS[refusal])
    events = [event("1", type="Accepted"), event("2", type="Refused"), event("3", type="Accepted")]
    for _ in range(2):
        (refused,) = strict.send(events)
        assert refused.key == event("2").key
        assert refused.reason.startswith("topic Refused: ")

    assert [message.headers["ce_id"] for message in refusing_kafka.messages("Accepted", 4)] == ["1", "3"] * 2


def test_a_message_that_is_too_large_for_the_client_does_not_block_the_others(kafka):
    topic = next(topics)
    properties = {"message.max.bytes": "1000"}
    target = KafkaSink(kafka.brokers, topic=topic, timeout_seconds=20, properties=properties)
    large = structs.replace(event("2"), data=Raw(b'"%s"' % (b"x" * 2000)))
    refused = target.send([event("1"), large, event("3")])
    target.close()

    assert [parked.key for parked in refused] == [large.key]
    assert "size" in refused[0].reason
    assert [message.headers["ce_id"] for message in kafka.messages(topic, 2)] == ["1", "3"]


def test_events_that_share_a_request_with_a_large_one_are_sent_separately(refusing_kafka, strict):
    """A broker refuses the request without naming the message that is too large."""
    strict.send([event("0", type="Accepted")])  # connected: the next ones share a request
    too_large = KafkaError.MSG_SIZE_TOO_LARGE
    refusing_kafka.refuse_requests(too_large, too_large)
    refused = strict.send([event(str(number), type="Accepted") for number in range(1, 4)])

    assert [parked.key for parked in refused] == [event("1").key]
    assert [message.headers["ce_id"] for message in refusing_kafka.messages("Accepted", 3)] == ["0", "2", "3"]


def test_a_temporary_refusal_is_retryable(refusing_kafka):
    """The whole cluster may refuse, for example. After the repair every event arrives."""
    target = KafkaSink(refusing_kafka.brokers, topic="{type}", timeout_seconds=4)
    refusing_kafka.refuse_requests(*[KafkaError.CLUSTER_AUTHORIZATION_FAILED] * 20)
    with pytest.raises(Retryable, match="0 of 1 events were acknowledged"):
        target.send([event("1", type="Accepted")])
    target.close()


def test_a_refused_event_is_parked_and_can_be_sent_again(store, outbox, caplog):
    target = MemorySink()
    target.refuses = {"Broken"}
    ingest_all(store, eventbridge("1"), eventbridge("2", type_="Broken"))
    ingest_all(store, eventbridge("3", type_="Broken"), eventbridge("4"))

    assert sink("kafka", outbox=outbox, target=target) == 2
    assert [each.id for each in target.sent] == ["1", "4"]
    assert outbox.consumers()[0].parked == 2
    assert "no Broken here" in str([record.reasons for record in caplog.records if record.name == "helios.sink"])

    target.refuses = set()
    assert send_parked("kafka", outbox=outbox, target=target) == (2, 0)
    assert [each.id for each in target.sent] == ["1", "4", "2", "3"]
    assert outbox.consumers()[0].parked == 0


def test_an_event_that_is_refused_again_stays_parked(store, outbox, monkeypatch):
    """The sink still tries the parked events after it."""
    monkeypatch.setattr(sinking, "PARKED_BATCH", 1)
    target = MemorySink()
    target.refuses = {"Broken", "Mended"}
    ingest_all(store, eventbridge("1", type_="Broken"), eventbridge("2", type_="Mended"))
    sink("kafka", outbox=outbox, target=target)
    target.refuses = {"Broken"}

    assert send_parked("kafka", outbox=outbox, target=target) == (1, 1)
    assert outbox.consumers()[0].parked == 1


def test_parking_rolls_back_with_the_offset(store, outbox):
    """A sink that fails sends the events again, and parks none twice."""

    def fail() -> None:
        with outbox.offset("kafka") as offset:
            offset.park([Parked(key=aws_key("1"), reason="no")])
            raise Retryable("the sink fails here")

    with pytest.raises(Retryable):
        fail()

    assert [consumer.parked for consumer in outbox.consumers("kafka")] == [0]


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


def test_topic_names_that_kafka_would_refuse_are_changed():
    assert topic_of(event(type="a/b c"), "t.{type}") == "t.a-b-c"
    assert topic_of(event(type=".."), "{type}") == "-"
    assert len(topic_of(event(type="x" * 256), "{type}")) == MAX_TOPIC_CHARS


def test_an_event_without_an_order_has_its_own_key():
    assert key_of(event("9", order_id=None)) == "aws/shop/1/eu/9"
    assert ("ce_source", b"aws") in headers_of(event(producer=""))


def test_a_message_has_what_its_sender_said_beside_the_payload():
    headers = headers_of(event(attributes={"tenant": "t1", "datacontenttype": "application/vnd.shop+json"}))

    assert {("ce_tenant", b"t1"), ("content-type", b"application/vnd.shop+json")} <= set(headers)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kafka_topic": "{order}"}, "HELIOS_KAFKA_TOPIC"),
        ({"kafka_config": "/nowhere"}, "HELIOS_KAFKA_CONFIG: /nowhere: No such file"),
        (
            {"kafka_secret": "sasl.username=helios hush"},
            "HELIOS_KAFKA_SECRET: a property is not in the form name=value",
        ),
    ],
)
def test_an_invalid_kafka_setting_is_named_and_its_content_is_not_shown(settings, message):
    with pytest.raises(ConfigurationError, match=message) as error:
        kafka_sink(Settings(database_url="postgresql://nowhere", kafka_brokers="127.0.0.1:9", **settings))
    assert "hush" not in str(error.value)


def test_a_file_adds_properties_and_an_error_does_not_show_the_line(tmp_path, kafka):
    file = tmp_path / "kafka.properties"
    settings = Settings(database_url="postgresql://nowhere", kafka_brokers=kafka.brokers, kafka_config=str(file))
    file.write_text("# TLS\nclient.id = shop\n\n")
    sink_with_file = kafka_sink(settings)
    assert sink_with_file
    sink_with_file.probe()
    sink_with_file.close()
    file.write_text("sasl.password hush\n")
    with pytest.raises(ConfigurationError, match="not in the form name=value") as error:
        kafka_sink(settings)
    assert "hush" not in str(error.value)


def test_a_secret_has_properties_too_which_replace_those_of_the_file_and_are_not_shown(tmp_path, kafka):
    file = tmp_path / "kafka.properties"
    file.write_text("client.id=shop\nlinger.ms=5\n")
    secret = "client.id=helios\nsasl.password=a=b#c"  # pragma: allowlist secret
    settings = Settings(
        database_url="postgresql://nowhere",
        engine="flink",
        log_brokers=kafka.brokers,
        kafka_config=str(file),
        kafka_secret=secret,
    )
    assert client_properties(settings) == {"client.id": "helios", "linger.ms": "5", "sasl.password": "a=b#c"}
    assert settings.shown()["kafka_secret"] == "***"
    log = delivery_log(structs.replace(settings, kafka_secret="no.such.property=1"))
    with pytest.raises(Retryable, match=r'No such configuration property: "no\.such\.property"'):
        log.probe()
