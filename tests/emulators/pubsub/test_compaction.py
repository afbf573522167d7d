"""The emulator rewrites its journal while it works, and loses no acknowledged message by that."""

import pytest
from google.pubsub_v1 import types

from local.emulators import journal
from local.emulators.pubsub.broker import Broker

TOPIC, DEAD = "projects/shop/topics/orders", "projects/shop/topics/dead"
ORDERS, DEAD_LETTERS = "projects/shop/subscriptions/orders", "projects/shop/subscriptions/dead"
ATTEMPTS = 5


class Emulated:
    """A broker that can be restarted. It has no clean-up of its own, so kill -9 leaves the same files."""

    def __init__(self, folder):
        self._folder = folder
        self.broker = Broker(folder)

    def restart(self):
        self.broker.close()
        self.broker = Broker(self._folder)

    def publish(self, *payloads):
        raw = [types.PubsubMessage.pb(types.PubsubMessage(data=payload)) for payload in payloads]
        self.broker.publish(TOPIC, raw)

    def owed(self, name=ORDERS):
        """The messages that the next process delivers."""
        self.restart()
        data = [delivery.message.data for delivery in self.broker.take(name, 100)]
        self.restart()
        return data


@pytest.fixture
def emulated(tmp_path, monkeypatch):
    """A subscription with five attempts, and one of its dead-letter topic; each change compacts the journal."""
    monkeypatch.setattr(journal, "_COMPACT_BYTES", 0)
    monkeypatch.setattr(journal, "_COMPACT_RATIO", 0)
    running = Emulated(tmp_path)
    for topic in (TOPIC, DEAD):
        running.broker.create_topic(types.Topic(name=topic))
    policy = types.DeadLetterPolicy(dead_letter_topic=DEAD, max_delivery_attempts=ATTEMPTS)
    running.broker.create_subscription(types.Subscription(name=ORDERS, topic=TOPIC, dead_letter_policy=policy))
    running.broker.create_subscription(types.Subscription(name=DEAD_LETTERS, topic=DEAD))
    yield running
    running.broker.close()


def test_published_messages_are_owed_after_each_publish(emulated):
    for count in range(1, 5):
        emulated.publish(str(count).encode())

        assert emulated.owed() == [str(number).encode() for number in range(1, count + 1)]


def test_a_message_that_is_given_up_becomes_a_dead_letter(emulated, tmp_path, monkeypatch):
    """Also when the dead letter is the record that makes the journal exceed its limit."""
    for count in range(1, 4):
        monkeypatch.setattr(journal, "_COMPACT_BYTES", 1_000_000)
        emulated.publish(str(count).encode())
        for _ in range(ATTEMPTS):
            (delivery,) = emulated.broker.take(ORDERS, 1)
            monkeypatch.setattr(journal, "_COMPACT_BYTES", (tmp_path / "journal.jsonl").stat().st_size)
            emulated.broker.modify_deadline(ORDERS, [delivery.ack_id], 0)

        assert (emulated.owed(), len(emulated.owed(DEAD_LETTERS))) == ([], count)


def test_the_last_expired_lease_loses_no_message(emulated):
    """The next pull then gives the message up."""
    emulated.publish(b"1")
    for _ in range(ATTEMPTS):
        emulated.broker.take(ORDERS, 1, deadline=0)
    assert emulated.broker.take(ORDERS, 1) == []

    assert (emulated.owed(), emulated.owed(DEAD_LETTERS)) == ([], [b"1"])


def test_an_acknowledged_message_is_no_longer_owed(emulated):
    emulated.publish(b"1", b"2")
    first, _ = emulated.broker.take(ORDERS, 2)
    emulated.broker.acknowledge(ORDERS, [first.ack_id])

    assert emulated.owed() == [b"2"]
