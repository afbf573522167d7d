"""The redrive of Pub/Sub's dead letters, on the emulator, with Google's unchanged clients."""

import base64
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.pubsub_v1 import PublisherClient
from google.pubsub_v1.types import PubsubMessage

from helios.model.events import Delivery, Event
from helios.normalise.pubsub import normalise
from scripts.redrive import gcp, run
from tests.emulators.pubsub.emulators import Helios
from tests.support.waiting import eventually

ATTEMPTS = 5


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Helios]:
    emulator = Helios(tmp_path_factory.mktemp("pubsub"))
    emulator.start()
    yield emulator
    emulator.close()


class Subscribed:
    """A topic and a subscription with a dead-letter topic, in a project of their own."""

    def __init__(self, emulator: Helios) -> None:
        self.publisher = emulator.publisher()
        self.subscriber = emulator.subscriber()
        self.project = f"shop-{uuid.uuid4().hex[:8]}"
        self.topic = self.publisher.topic_path(self.project, gcp.TOPIC)
        self.events = self.subscriber.subscription_path(self.project, "helios-ingest")
        self.dead_letters = self.subscriber.subscription_path(self.project, gcp.SUBSCRIPTION)
        dead_letter_topic = self.publisher.topic_path(self.project, "helios-dead-letters")
        for topic in (self.topic, dead_letter_topic):
            self.publisher.create_topic(name=topic)
        backoff = {"minimum_backoff": Duration(), "maximum_backoff": Duration(nanos=1_000_000)}
        policy = {"dead_letter_topic": dead_letter_topic, "max_delivery_attempts": ATTEMPTS}
        self.subscriber.create_subscription(
            request={"name": self.events, "topic": self.topic, "dead_letter_policy": policy, "retry_policy": backoff}
        )
        self.subscriber.create_subscription(name=self.dead_letters, topic=dead_letter_topic)

    def pull(self, subscription: str) -> list[Any]:
        return list(self.subscriber.pull(subscription=subscription, max_messages=10).received_messages)

    def refuse(self) -> Any:
        """Refuse every delivery until the message is a dead letter; the message of the last delivery."""
        for _ in range(ATTEMPTS):
            (received,) = self.pull(self.events)
            self.subscriber.modify_ack_deadline(
                subscription=self.events, ack_ids=[received.ack_id], ack_deadline_seconds=0
            )
        return received.message

    def event(self, message: Any) -> Event:
        """The event that Helios reads from a pushed message."""
        pushed = {
            "message": {
                "data": base64.b64encode(message.data).decode(),
                "attributes": dict(message.attributes),
                "messageId": message.message_id,
                "publishTime": message.publish_time.rfc3339(),
            },
            "subscription": self.events,
        }
        return normalise(
            Delivery(channel="pubsub", body=json.dumps(pushed).encode(), received_at=datetime(2026, 1, 1, tzinfo=UTC))
        )


@pytest.fixture
def subscribed(emulator) -> Subscribed:
    return Subscribed(emulator)


def redrive(subscribed: Subscribed) -> int:
    return gcp.redrive(subscribed.subscriber, subscribed.publisher, subscribed.dead_letters, subscribed.topic)


def identity(event: Event) -> tuple[object, ...]:
    """What makes it the same event. The emulator writes the time of a dead letter in milliseconds."""
    return (*event.key, event.type, event.time.isoformat(timespec="milliseconds"), bytes(event.data))


@pytest.mark.parametrize(
    ("data", "attributes"),
    [
        (b'{"order_id": "ORD-1"}', {"ce-id": "payment-1", "ce-source": "/shop", "ce-time": "2026-01-01T00:00:00Z"}),
        (b'{"order_id": "ORD-1"}', {"ce-id": "payment-1", "ce-source": "/shop", "data": "an attribute", "topic": "t"}),
        (b'{"order_id": "ORD-1"}', {"ce-id": "payment-1"}),
        (b"", {"ce-id": "payment-1", "order_id": "ORD-1"}),
    ],
    ids=["complete", "no time", "no source", "attributes only"],
)
def test_a_dead_letter_returns_as_the_event_that_it_was(subscribed, data, attributes):
    messages = [PubsubMessage(data=data, attributes=attributes)]
    PublisherClient.publish(subscribed.publisher, topic=subscribed.topic, messages=messages)
    original = subscribed.event(subscribed.refuse())

    eventually(lambda: redrive(subscribed) == 1)
    (received,) = subscribed.pull(subscribed.events)
    assert identity(subscribed.event(received.message)) == identity(original)
    assert redrive(subscribed) == 0


@pytest.mark.parametrize("data", [b'{"order_id": "ORD-1"}', b""], ids=["data", "attributes only"])
def test_a_message_without_an_id_of_its_publisher_returns_with_the_id_of_its_dead_letter(subscribed, data):
    subscribed.publisher.publish(subscribed.topic, data, order_id="ORD-1").result()
    original = subscribed.event(subscribed.refuse())
    (received,) = subscribed.pull(subscribed.dead_letters)
    again = gcp.again(received.message, project=f"projects/{subscribed.project}")

    event = subscribed.event(PubsubMessage(again, message_id="another", publish_time=datetime.now(UTC)))
    assert event.key == ("gcp", original.key[1], received.message.message_id)
    assert identity(event)[3:] == identity(original)[3:]


def test_the_command_reads_the_emulator_s_address(emulator, subscribed, monkeypatch, capsys):
    subscribed.publisher.publish(subscribed.topic, b"{}", **{"ce-id": "1"}).result()
    subscribed.refuse()
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{emulator.port}")
    assert run.main(["gcp", "--project", subscribed.project]) == 0
    assert capsys.readouterr().out == "1 messages of helios-dead-letters published to helios-events\n"


def test_a_missing_subscription_is_one_sentence(emulator, monkeypatch, capsys):
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{emulator.port}")
    assert run.main(["gcp", "--project", "shop-none"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("redrive: gcp: 404 ")
