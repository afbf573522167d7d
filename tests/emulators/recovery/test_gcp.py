"""A leg brought back from Pub/Sub's emulator, with Google's unchanged clients: stored once, and no other touched."""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from google.protobuf.duration_pb2 import Duration

from helios.adapters.recovery.pubsub import TopicPlace, filter_of, pushed
from helios.adapters.recovery.registry import places_of
from helios.normalise.pubsub import MESSAGE_PUBLISHED
from helios.ports.recoveries import Places
from helios.reconciliation.declaration import Flow
from helios.services.diagnosis import MARGIN
from helios.settings import Settings
from tests.emulators.pubsub.emulators import Helios
from tests.support.instances import ORDER, leg, parcels
from tests.support.recovering import Recovering
from tests.support.waiting import eventually

ATTEMPTS = 5
COMPLETE = {"matched", "matched_late"}
TYPE = "PaymentProcessed"
PARCELS = parcels("gcp")
NO_DELAY = {"minimum_backoff": Duration(), "maximum_backoff": Duration(nanos=1_000_000)}


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Helios]:
    emulator = Helios(tmp_path_factory.mktemp("pubsub"))
    emulator.start()
    yield emulator
    emulator.close()


class Shop:
    """A topic that retains its messages, the subscription of Helios, that of another consumer, and the dead letters."""

    def __init__(self, emulator: Helios, *, retains: bool = True) -> None:
        self.publisher, self.subscriber = emulator.publisher(), emulator.subscriber()
        project = f"shop-{uuid.uuid4().hex[:8]}"
        self.topic = f"projects/{project}/topics/helios-events"
        self.dead_topic = f"projects/{project}/topics/helios-dead-letters"
        self.helios, self.other, self.dead_letters = (
            f"projects/{project}/subscriptions/{name}" for name in ("helios", "other", "helios-dead-letters")
        )
        retention = {"message_retention_duration": Duration(seconds=86400)} if retains else {}
        self.publisher.create_topic(request={"name": self.topic, **retention})
        self.publisher.create_topic(name=self.dead_topic)
        policy = {"dead_letter_topic": self.dead_topic, "max_delivery_attempts": ATTEMPTS}
        self.subscriber.create_subscription(
            request={"name": self.helios, "topic": self.topic, "dead_letter_policy": policy, "retry_policy": NO_DELAY}
        )
        self.subscriber.create_subscription(name=self.other, topic=self.topic)
        self.subscriber.create_subscription(name=self.dead_letters, topic=self.dead_topic)

    def pay(self, *keys: str, **attributes: str) -> None:
        """Publish the payments of orders."""
        for key in keys:
            payload = {"order_id": key, "customer_id": "CUST-1", "amount": 10.0, "currency": "EUR"}
            self.publisher.publish(self.topic, json.dumps(payload).encode(), event_type=TYPE, **attributes).result()

    def ship(self, key: str, *numbers: int) -> None:
        """Publish the shipments of parcels of an order."""
        for number in numbers:
            payload = {"order_id": key, "parcel": number}
            self.publisher.publish(self.topic, json.dumps(payload).encode(), event_type="ParcelShipped").result()

    def pull(self, subscription: str, number: int = 10) -> list:
        return list(self.subscriber.pull(subscription=subscription, max_messages=number).received_messages)

    def lose(self, number: int) -> None:
        """Acknowledge messages for Helios that it does not store."""
        received = self.pull(self.helios, number)
        assert len(received) == number
        self.subscriber.acknowledge(subscription=self.helios, ack_ids=[item.ack_id for item in received])

    def refuse(self, number: int) -> None:
        """Refuse messages until they are dead letters."""
        for _ in range(ATTEMPTS * number):
            (received,) = self.pull(self.helios, 1)
            self.subscriber.modify_ack_deadline(
                subscription=self.helios, ack_ids=[received.ack_id], ack_deadline_seconds=0
            )

    def side_subscriptions(self) -> list[str]:
        names = self.publisher.list_topic_subscriptions(topic=self.topic)
        return [name for name in names if name not in {self.helios, self.other}]


@pytest.fixture
def shop(emulator, monkeypatch) -> Shop:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{emulator.port}")
    return Shop(emulator)


@pytest.fixture
def recovering(pool, postgres_store):
    """Makes recoveries that search these places, of orders that have just opened."""

    def make(places: str | Places, flow: Flow = ORDER) -> Recovering:
        if isinstance(places, str):
            places = places_of(Settings(database_url="postgresql://nowhere", recovery_places=places))
        return Recovering(pool, places, flow=flow, now=datetime.now(UTC) + timedelta(hours=1))

    return make


def receive(helios: Recovering, *keys: str, after: timedelta = timedelta()) -> None:
    """The other legs of these orders arrive now, or later."""
    at = datetime.now(UTC) + after
    legs = [leg(name, key) for key in keys for name in ("order", "inventory")]
    helios.receive(*(msgspec.structs.replace(each, received_at=at) for each in legs))


def run(helios: Recovering) -> None:
    """Work on the recoveries until all have ended."""
    eventually(lambda: helios.run(seconds=0.5) > 0, seconds=60)


@pytest.mark.parametrize(
    "attributes", [{}, {"ce-id": "payment-1", "ce-source": "/shop", "ce-time": "2026-01-01T00:00:00Z"}]
)
def test_a_lost_leg_comes_back_from_the_topic_alone(shop, recovering, attributes):
    shop.pay("ORD-1", **attributes)
    shop.pay("ORD-2", "ORD-3")
    shop.lose(3)
    helios = recovering(f"gcp-topic={shop.topic}")
    receive(helios, "ORD-1", "ORD-2")
    helios.request("ORD-1")
    run(helios)

    recovery = helios.last("ORD-1")
    assert (recovery.state, recovery.finding) == ("recovered", "not_delivered")
    assert recovery.found_in == f"the retained messages of {shop.topic}"
    assert helios.instance("ORD-1").status in COMPLETE
    assert helios.instance("ORD-2").status == "incomplete"
    assert helios.reader.flow(("order", "ORD-3")) is None
    assert shop.side_subscriptions() == []
    assert len(shop.pull(shop.other)) == 3  # the other consumer's messages wait for it as before


def test_the_event_of_a_side_subscription_is_the_event_of_the_push(shop, recovering):
    """Its push arrives after all: the same identity and content, stored once."""
    shop.pay("ORD-1")
    helios = recovering(f"gcp-topic={shop.topic}")
    receive(helios, "ORD-1")
    helios.request("ORD-1")
    run(helios)
    (received,) = shop.pull(shop.helios)
    (outcome,) = helios.ingest([pushed(received.message, shop.helios)])
    assert outcome.status == "duplicate"


def test_a_leg_that_was_never_published_never_reached_the_bus(shop, recovering):
    """The topic has a message that is older than the period, so that it has all those of the period."""
    shop.pay("ORD-2")
    helios = recovering({"gcp": [TopicPlace(shop.topic, name="the topic", quiet_seconds=6)]})
    helios.now += timedelta(hours=1)
    receive(helios, "ORD-1", after=MARGIN + timedelta(minutes=10))
    helios.request("ORD-1")
    run(helios)
    assert (helios.last("ORD-1").state, helios.last("ORD-1").finding) == ("not_found", "never_reached_bus")
    assert helios.last("ORD-1").found_in == "the topic"
    assert shop.side_subscriptions() == []


def test_a_topic_that_may_not_have_retained_the_whole_period_leaves_the_reason_unknown(shop, recovering):
    """It has no older message: its retention may have been turned on within the period."""
    shop.pay("ORD-2")
    helios = recovering({"gcp": [TopicPlace(shop.topic, name="the topic", quiet_seconds=6)]})
    receive(helios, "ORD-1")
    helios.request("ORD-1")
    run(helios)
    assert (helios.last("ORD-1").state, helios.last("ORD-1").finding) == ("not_found", "unknown")
    assert helios.last("ORD-1").detail == "the topic: does not have the event, and need not have had it."


def test_messages_that_are_newer_than_the_recovery_do_not_prolong_its_search(shop, recovering):
    helios = recovering({"gcp": [TopicPlace(shop.topic, name="the topic", quiet_seconds=6)]})
    helios.now = datetime.now(UTC)
    opened = helios.now - timedelta(hours=1)
    helios.receive(*(msgspec.structs.replace(leg(name), received_at=opened) for name in ("order", "inventory")))
    helios.request("ORD-1")

    def is_over() -> bool:
        shop.pay("ORD-2")
        return helios.run(seconds=1) > 0

    eventually(is_over, seconds=60)
    assert helios.last("ORD-1").state == "not_found"


def test_the_missing_parcels_come_back_from_the_topic_and_the_stored_ones_are_not_counted_again(shop, recovering):
    place = TopicPlace(shop.topic, name="the topic")
    helios = recovering({"gcp": [place]}, flow=PARCELS)
    now = datetime.now(UTC)
    shop.ship("ORD-1", 1)
    (stored,) = shop.pull(shop.helios)
    order = msgspec.structs.replace(leg("order"), received_at=now)
    helios.receive(order, pushed(stored.message, shop.helios))
    helios.request("ORD-1", "shipment")
    assert helios.run() == 0  # the stored parcel does not end the search
    assert [search.found for search in helios.last("ORD-1").searches] == [0]

    shop.ship("ORD-1", 2, 3)
    run(helios)
    assert (helios.last("ORD-1").state, helios.last("ORD-1").found_in) == ("recovered", "the topic")
    assert [search.found for search in helios.last("ORD-1").searches] == [2]
    assert [each.deliveries for each in helios.instance("ORD-1").legs] == [1, 3]
    assert helios.reader.totals(datetime.now(UTC)).duplicate == 0
    assert shop.side_subscriptions() == []


def test_a_topic_that_retains_nothing_says_what_to_configure(emulator, shop, recovering):
    plain = Shop(emulator, retains=False)
    helios = recovering(f"gcp-topic={plain.topic}")
    receive(helios, "ORD-1")
    helios.request("ORD-1")
    run(helios)
    assert helios.last("ORD-1").finding == "unknown"
    assert "message_retention_duration" in helios.last("ORD-1").detail
    assert plain.side_subscriptions() == []


def test_a_dead_letter_comes_back_and_the_others_stay(shop, recovering):
    shop.pay("ORD-1")
    shop.refuse(1)
    shop.pay("ORD-2")
    shop.refuse(1)
    helios = recovering(f"gcp-dead-letters={shop.dead_letters}")
    receive(helios, "ORD-1", "ORD-2")
    helios.request("ORD-1")
    run(helios)
    assert helios.last("ORD-1").found_in == f"the dead letters of {shop.dead_letters}"
    assert helios.instance("ORD-1").status in COMPLETE
    (kept,) = shop.pull(shop.dead_letters)
    assert json.loads(kept.message.data)["order_id"] == "ORD-2"


def test_an_unknown_topic_is_refused_by_name(shop, recovering):
    helios = recovering(f"gcp-topic={shop.topic}-other")
    receive(helios, "ORD-1")
    helios.request("ORD-1")
    run(helios)
    assert helios.last("ORD-1").finding == "unknown"
    assert "can't be searched: Pub/Sub refuses: 404" in helios.last("ORD-1").detail


KILLED = """
import os, signal, sys
from datetime import UTC, datetime, timedelta
from helios.adapters.postgres.connection import open_pool
from helios.adapters.recovery.pubsub import TopicPlace
from helios.adapters.recovery.registry import places_of
from helios.settings import Settings
from tests.support.recovering import Recovering

url, places, step = sys.argv[1:]
pull_all = TopicPlace._pull_all

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def die_once_stored(place, subscription, wanted):
    def take(deliveries):
        wanted.take(deliveries)
        die()
    return pull_all(place, subscription, wanted._replace(take=take))

TopicPlace._pull_all = die if step == "created" else die_once_stored
with open_pool(url, connections=2, timeout_seconds=5) as pool:
    settings = Settings(database_url=url, recovery_places=places)
    Recovering(pool, places_of(settings), now=datetime.now(UTC) + timedelta(hours=2)).run()
"""
"""Searches the places, and kills itself once it has made the side subscription, or has stored the event."""


@pytest.mark.parametrize("step", ["created", "stored"])
def test_a_process_that_is_killed_leaves_nothing_behind_in_the_end(shop, recovering, database_url, step):
    shop.pay("ORD-1")
    shop.lose(1)
    places = f"gcp-topic={shop.topic}"
    helios = recovering(places)
    receive(helios, "ORD-1")
    helios.request("ORD-1")
    killed = subprocess.run([sys.executable, "-c", KILLED, database_url, places, step], env=os.environ, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(shop.side_subscriptions()) == 1

    successor = recovering(places)
    run(successor)
    assert successor.last("ORD-1").state == "recovered"
    assert successor.instance("ORD-1").status in COMPLETE
    assert shop.side_subscriptions() == []
    assert helios.reader.totals(datetime.now(UTC)).duplicate == 0


def test_a_filter_never_misses_a_type():
    assert 'attributes."ce-type" = "PaymentProcessed"' in filter_of(TYPE)
    assert [filter_of(type_) for type_ in (MESSAGE_PUBLISHED, 'a"b', "a\\b", "x" * 200)] == ["", "", "", ""]
