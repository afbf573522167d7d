"""The log carries what an edge has read: without loss, and readable with msgspec alone."""

import json
import subprocess
import sys
from base64 import b64encode
from datetime import timedelta
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from helios import messages
from helios.messages import DeliveryMessage, Heartbeat, decode_delivery
from helios.model.counts import Count
from helios.model.dead_letters import BEYOND_HORIZON, DeadLetter, fingerprint_of
from helios.model.events import Delivery, Event, Fault
from helios.model.sources import Hmac, SourceDeclaration
from helios.normalise import normalise
from helios.normalise.redact import Redaction
from helios.reconciliation import declaration
from helios.reconciliation.fold import Fold
from helios.services.identity import classify, compare, decode_known, encode_known, known
from helios.services.reading import Reading, message_of, read, read_message
from helios.sources.registry import CLOUDS, Sources
from tests.support.deliveries import NOON, eventbridge
from tests.unit.test_normalise import pairs
from tests.unit.test_normalise import read as golden

FOLD = Fold(declaration.load())

JOB = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        package = name.partition(".")[0]
        if package not in sys.stdlib_module_names and package not in {"helios", "msgspec"}:
            raise ImportError(f"{name} is not in the environment of the job")

sys.meta_path.insert(0, Blocked())

import helios.messages, helios.services.identity, helios.services.outcomes, helios.services.reading
from helios import settings
from helios.reconciliation import declaration
from helios.reconciliation.fold import Fold
from helios.sources import declaration as source_declaration

configured = settings.load({"HELIOS_ENGINE": "flink", "HELIOS_LOG_BROKERS": "localhost:9092"})
Fold(declaration.load(configured.flows_file), source_declaration.load(configured.sources_file))
print(configured.engine)
"""


def test_a_job_needs_msgspec_and_no_other_package():
    """Its environment has the package of Helios without the dependencies of Helios."""
    process = subprocess.run([sys.executable, "-c", JOB], capture_output=True, text=True, check=False)

    assert process.stderr == ""
    assert process.stdout == "flink\n"


def through_the_log(reading: Reading, *, is_redacted: bool = False, sources: Sources = CLOUDS) -> Reading:
    """What the job reads of a delivery that an edge has appended."""
    _, value = message_of(reading, FOLD, is_redacted=is_redacted)
    message = decode_delivery(value)
    assert isinstance(message, DeliveryMessage)
    return read_message(message, sources)


@pytest.mark.parametrize("stem", [*pairs("event"), *pairs("rejected")])
def test_the_job_reads_what_the_edge_has_read(stem):
    reading = read(golden(stem))
    read_again = through_the_log(reading)

    assert read_again.content == reading.content
    assert fingerprint_of(read_again.delivery) == fingerprint_of(reading.delivery)


@pytest.mark.parametrize("stem", [*pairs("event"), *pairs("rejected")])
def test_the_job_reads_what_redaction_has_left(stem):
    """Where redaction withholds a body, the event is in the message beside it."""
    redaction = Redaction(["customer_id", "amount", "order", "data"])
    reading = read(golden(stem), redaction)

    assert through_the_log(reading, is_redacted=True).content == reading.content


def repr_of_start(body: bytes) -> str:
    """The name of a long body in a test."""
    return repr(body[:4])


@given(body=st.binary(max_size=200), headers=st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=2))
def test_no_byte_of_a_body_is_lost(body, headers):
    delivery = Delivery(channel="eventgrid", body=body, headers=headers, received_at=NOON)

    assert through_the_log(read(delivery)).delivery.body == body


@pytest.mark.parametrize("body", [b"\0" * 6_000_000, b'"\n' * 4_000_000, b"a\x1f" * 3_000_000], ids=repr_of_start)
def test_a_body_of_escapes_is_not_much_longer_in_the_log(body):
    """As a text of six bytes each, the brokers would refuse it, and the sender would send it forever."""
    message = messages.Body.of(body)

    assert len(msgspec.json.encode(message)) < 1.34 * len(body)
    assert message.bytes() == body


@pytest.mark.parametrize("body", [b"\0" * 100, b'{"id": "1"}', b'{"text": "\xc3\xa9"}\n' * 100_000], ids=repr_of_start)
def test_a_body_of_text_can_be_read_in_the_log(body):
    assert messages.Body.of(body) == messages.Body(text=body.decode())


@given(parts=st.lists(st.binary(min_size=1, max_size=4) | st.sampled_from([b"\0", b'"', b"\n", b"text"]), min_size=1))
def test_the_shorter_of_text_and_base64_is_in_the_log(parts):
    body = b"".join(parts) * (messages.READABLE_BYTES // len(b"".join(parts)) + 1)
    text, base64 = (len(msgspec.json.encode(each)) for each in (as_text(body), b64encode(body).decode()))

    assert len(msgspec.json.encode(messages.Body.of(body))) <= min(text, base64) + len(b'{"base64":}')


def as_text(body: bytes) -> str:
    """The text of a body; of one that is none, more than base64 has."""
    try:
        return body.decode()
    except UnicodeDecodeError:
        return 2 * len(body) * "-"


def test_a_delivery_of_a_declared_source_needs_its_declaration():
    """A job without the edge's file of sources makes a dead letter of it, whose replay succeeds after the fix."""
    stripe = SourceDeclaration(name="stripe", proof=Hmac(header="x-signature"), id="id", type="type")
    delivery = Delivery(channel="webhook", body=b'{"id":"1","type":"paid"}', received_at=NOON, declaration=stripe)
    reading = read(delivery)

    assert isinstance(reading.content, Event)
    assert through_the_log(reading, sources=Sources([stripe])) == reading
    undeclared = through_the_log(reading).content
    assert isinstance(undeclared, Fault)
    assert "stripe" in undeclared.reason


def test_the_events_of_an_instance_have_one_key():
    placed = eventbridge("1", detail={"order_id": "ORD-7"})
    other = eventbridge("2", type_="Unrelated", detail={})
    broken = replace(placed, body=b"{")

    keys = [message_of(read(delivery), FOLD, is_redacted=False)[0] for delivery in (placed, other, broken)]
    assert keys == ["ORD-7", "/".join(normalise(other).key), fingerprint_of(broken)]


def test_a_heartbeat_and_an_accepted_delivery_are_messages():
    assert decode_delivery(messages.encode_heartbeat(NOON)) == Heartbeat(at=NOON)
    message = decode_delivery(message_of(read(eventbridge()), FOLD, is_redacted=False, accept=True)[1])
    assert isinstance(message, DeliveryMessage)
    assert message.accept


def test_events_counts_and_dead_letters_pass_through_the_log():
    event = normalise(eventbridge(detail={"amount": Decimal("10.00").to_eng_string()}))
    count = Count(minute=NOON, source="aws", type="OrderPlaced", stored=3, duplicate=1)
    dead_letter = DeadLetter(
        fingerprint="0" * 32,
        source="gcp",
        channel="pubsub",
        status="rejected",
        reason="is no JSON",
        field="body",
        body=b"\xff{",
        headers={"a": "b"},
        received_at=NOON,
        attempts=1,
    )

    assert messages.decode_event(messages.encode_event(event)) == event
    assert messages.decode_count(messages.encode_count(count)) == count
    assert messages.decode_dead_letter(messages.encode_dead_letter(dead_letter)) == dead_letter


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=3)
scalars = st.one_of(st.none(), st.booleans(), st.integers(-(10**30), 10**30), st.floats(-1e9, 1e9), texts)
payloads = st.dictionaries(st.sampled_from("abcd"), st.one_of(scalars, st.lists(scalars, max_size=2)), max_size=4)


@given(first=payloads, second=payloads, extra=st.sampled_from([0, 80]))
def test_digests_decide_as_the_stored_event_does(first, second, extra):
    """A job stores digests of an event's fields instead of the event."""
    more = {f"x{number}": number for number in range(extra)}
    original, event = (normalise(eventbridge(detail=more | detail)) for detail in (first, second))
    outcome = classify(event, decode_known(encode_known(known(original))))

    assert outcome.status == compare(event, original).status
    if not extra:
        assert (outcome.reason, outcome.field) == (
            compare(event, original).reason,
            compare(event, original).field,
        )


def test_an_event_beyond_the_horizon_is_no_new_event():
    event = normalise(eventbridge())
    old = replace(event, time=event.received_at - timedelta(days=3))

    assert classify(old, None, horizon=timedelta(days=2)).reason == BEYOND_HORIZON
    assert classify(old, None).status == "stored"
    assert classify(old, known(old), horizon=timedelta(days=2)).status == "duplicate"


def test_true_is_not_one():
    """Although Python calls them equal."""
    one, true = (normalise(eventbridge(detail={"paid": value})) for value in (1, True))

    assert compare(true, one).status == classify(true, known(one)).status == "contradictory"


def test_another_spelling_is_a_duplicate():
    bodies = [json.dumps(json.loads(eventbridge().body) | {"detail": 0}).encode()] * 2
    first, second = (
        normalise(replace(eventbridge(), body=body.replace(b'"detail": 0', b'"detail": ' + detail)))
        for body, detail in zip(bodies, (b'{"a":10.0,"b":1}', b'{"b":1,"a":10.00}'), strict=True)
    )

    assert first.digest != second.digest
    assert classify(second, known(first)).status == "duplicate"
