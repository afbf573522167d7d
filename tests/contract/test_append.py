"""With a log, an edge answers once a delivery is in the log, readable or not, and asks for it again otherwise."""

from itertools import count
from typing import NamedTuple

import msgspec
import pytest
from confluent_kafka import KafkaError
from msgspec.structs import replace

from helios.adapters.kafka_log import KafkaLog
from helios.bootstrap import LogEdge, Services
from helios.errors import Rejected, Retryable
from helios.messages import DeliveryMessage, topics
from helios.model.dead_letters import DeadLetterFilter
from helios.model.events import Delivery, Event, Fault
from helios.model.flow_versions import InForce
from helios.normalise.redact import Redaction
from helios.processes.ports import HOST, free_port
from helios.reconciliation import declaration
from helios.services.dead_letters import replay_dead_letter
from helios.services.ingest import ingest
from helios.services.leadership import PROJECTOR
from helios.services.reading import Reading, read_message
from helios.services.rules import Rules
from helios.sources.registry import CLOUDS
from tests.fakes.store import MemoryStore
from tests.support.deliveries import NOON, eventbridge, eventgrid
from tests.support.services import client_of, in_memory

prefixes = (f"append-{number}" for number in count())
AWS = "/api/v1/webhooks/aws/eventbridge"


class Log(NamedTuple):
    """A log of one test."""

    edge: LogEdge
    prefix: str
    brokers: str

    def readings(self, kafka, number: int) -> list[tuple[str, Reading]]:
        """What the job reads in the first messages: the key of each, and its delivery."""
        sent = kafka.messages(topics(self.prefix).deliveries, number)
        messages = [(message.key, msgspec.convert(message.data, DeliveryMessage)) for message in sent]
        return [(key, read_message(message, CLOUDS)) for key, message in messages]


def open_log(
    brokers: str,
    *,
    seconds: float = 20,
    redact: str = "",
    store: MemoryStore | None = None,
    rules: Rules | None = None,
) -> Log:
    prefix = next(prefixes)
    return Log(
        LogEdge(
            log=KafkaLog(brokers, topic=topics(prefix).deliveries, timeout_seconds=seconds),
            rules=rules or Rules(declaration.load(), None),
            redaction=Redaction(redact.split()) if redact else None,
            tracer=None,
            store=store,
        ),
        prefix,
        brokers,
    )


@pytest.fixture
def log(kafka):
    opened = open_log(kafka.brokers, store=MemoryStore())
    yield opened
    opened.edge.close()


def services_with(log: Log, store: MemoryStore) -> Services:
    return replace(in_memory(store), log_edge=log.edge)


def test_a_batch_is_in_the_log_before_it_is_answered(log, kafka):
    placed = eventbridge("1", detail={"order_id": "ORD-1"})
    broken = replace(placed, body=b"{")
    outcomes = log.edge.ingest([placed, broken, eventgrid("2", data={})])

    assert [outcome.status for outcome in outcomes] == ["accepted", "rejected", "accepted"]
    readings = dict(log.readings(kafka, 3))
    assert readings["ORD-1"].delivery == placed
    assert {type(reading.content) for reading in readings.values()} == {Event, Fault}
    assert {reading.delivery.received_at for reading in readings.values()} == {NOON}


class Versions:
    """Versions of which one comes into force later: the shipped flow with another key."""

    def __init__(self) -> None:
        self.generation = 0

    def in_force(self) -> InForce:
        text = declaration.load_text(None)[1].replace('key = "order_id"', 'key = "customer_id"')
        return InForce(generation=self.generation, texts={"order": text} if self.generation else {})


def test_the_key_of_a_message_is_by_the_rules_that_the_process_read_last(kafka):
    """So deliveries of one instance are in one partition also by rules that people have approved since."""
    versions = Versions()
    rules = Rules(declaration.load(), versions)
    log = open_log(kafka.brokers, rules=rules)
    placed = eventbridge("1", detail={"order_id": "ORD-1", "customer_id": "CUST-1"})
    log.edge.ingest([placed])
    versions.generation = 1
    log.edge.ingest([placed])
    rules.refresh()
    log.edge.ingest([placed])
    keys = [key for key, _ in log.readings(kafka, 3)]
    log.edge.close()
    assert sorted(keys) == ["CUST-1", "ORD-1", "ORD-1"]


def test_the_api_answers_accepted_and_stores_nothing_itself(log, kafka):
    store = MemoryStore()
    with client_of(services_with(log, store)) as client:
        accepted = client.post(AWS, content=eventbridge("1").body)
        rejected = client.post(AWS, content=b"{")
        mixed = client.post("/api/v1/webhooks/azure/eventgrid", content=b"[%s,1]" % eventgrid("3").body)

    assert (accepted.status_code, accepted.json()["status"]) == (202, "accepted")
    assert rejected.status_code == 400
    assert [result["status"] for result in mixed.json()["results"]] == ["accepted", "rejected"]
    assert len(log.readings(kafka, 4)) == 4
    assert store.dead_letters(DeadLetterFilter(), after=None, limit=10).items == []


def test_without_a_broker_a_sender_must_send_again():
    away = open_log(f"{HOST}:{free_port()}", seconds=1)
    with client_of(services_with(away, MemoryStore())) as client:
        answer = client.post(AWS, content=eventbridge("1").body)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


@pytest.mark.parametrize(("brokers", "status", "state"), [("kafka", 200, "healthy"), ("nowhere", 503, "unhealthy")])
def test_the_health_says_whether_the_log_answers(request, brokers, status, state):
    opened = open_log(f"{HOST}:{free_port()}" if brokers == "nowhere" else request.getfixturevalue("kafka").brokers)
    services = services_with(opened, MemoryStore())
    with services.leases.take(PROJECTOR), client_of(services) as client:
        answer = client.get("/api/v1/health/detailed")

    assert (answer.status_code, answer.json()["log"], answer.json()["projector"]) == (status, state, "healthy")
    assert ("log" in answer.json()["reasons"]) == (state == "unhealthy")


def test_the_health_says_that_no_projector_runs(log):
    """Events are received nevertheless."""
    with client_of(services_with(log, MemoryStore())) as client:
        answer = client.get("/api/v1/health/detailed")

    assert (answer.status_code, answer.json()["status"], answer.json()["projector"]) == (200, "degraded", "unhealthy")
    assert "helios projector" in answer.json()["reasons"]["projector"]


def test_a_message_that_a_broker_refuses_is_sent_again(refusing_kafka):
    opened = open_log(refusing_kafka.brokers)
    refusing_kafka.refuse_requests(KafkaError.MSG_SIZE_TOO_LARGE)
    with pytest.raises(Retryable, match=r"Raise max\.message\.bytes of the topic"):
        opened.edge.ingest([eventbridge("1")])

    assert [outcome.status for outcome in opened.edge.ingest([eventbridge("1")])] == ["accepted"]
    opened.edge.close()


def test_a_redacted_value_is_not_in_the_log(kafka):
    opened = open_log(kafka.brokers, redact="email")
    deliveries = [
        eventbridge("1", detail={"order_id": "ORD-1", "email": "ada@example.com"}),
        replace(eventbridge("2"), body=b'{"email": "ada@example.com"'),
    ]
    opened.edge.ingest(deliveries)

    sent = kafka.messages(topics(opened.prefix).deliveries, 2)
    assert "ada@example.com" not in str(sent)
    assert "[redacted]" in str(sent)
    opened.edge.close()


def test_half_a_character_in_a_header_stops_no_batch(log, kafka):
    """JSON that a cloud has parsed may hold one, and no message can."""
    odd = replace(eventbridge("1"), headers={"x-tenant": "\ud800"})
    outcomes = log.edge.ingest([odd, eventbridge("2")])

    assert [outcome.status for outcome in outcomes] == ["rejected", "accepted"]
    assert len(log.readings(kafka, 2)) == 2


def rejected_in(store: MemoryStore):
    ingest([Delivery(channel="eventbridge", body=b"{", received_at=NOON)], dedupe=in_memory(store).dedupe, store=store)
    return store.dead_letters(DeadLetterFilter(), after=None, limit=1).items[0]


def test_a_replay_of_a_dead_letter_goes_to_the_log(kafka):
    store = MemoryStore()
    opened = open_log(kafka.brokers, store=store)
    stored = rejected_in(store)
    fixed = eventbridge("1").body
    for _ in range(2):
        outcomes = replay_dead_letter(stored, fixed, ingest=opened.edge.ingest, actor="ada", now=NOON, accept=True)
        assert [outcome.status for outcome in outcomes] == ["accepted"]

    marked = store.dead_letters(DeadLetterFilter(), after=None, limit=1).items[0]
    assert (marked.replayed_as, [key[2] for key in marked.replayed_keys]) == ("accepted", ["1"])
    sent = kafka.messages(topics(opened.prefix).deliveries, 2)
    assert [message.data["accept"] for message in sent] == [True, True]
    with pytest.raises(Rejected):
        opened.edge.ingest([replace(eventbridge(), body=b"{")], also_write=lambda *_: None)
    opened.edge.close()


def test_a_replay_is_not_marked_unless_it_is_in_the_log():
    store = MemoryStore()
    away = open_log(f"{HOST}:{free_port()}", seconds=1, store=store)
    stored = rejected_in(store)
    with pytest.raises(Retryable):
        replay_dead_letter(stored, eventbridge("1").body, ingest=away.edge.ingest, actor="ada", now=NOON)

    assert store.dead_letters(DeadLetterFilter(), after=None, limit=1).items[0].replayed_as is None
