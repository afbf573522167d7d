"""The journal is written anew while the emulator works, and what was acknowledged survives that, too."""

import pytest
from google.pubsub_v1 import types

from local.emulators import journal
from local.emulators.pubsub.broker import Broker

TOPIC, DEAD = "projects/shop/topics/orders", "projects/shop/topics/dead"
ORDERS, LETTERS = "projects/shop/subscriptions/orders", "projects/shop/subscriptions/letters"
ATTEMPTS = 5


class Emulated:
    """A broker that can be restarted. It never tidies up, so that its end by kill -9 leaves the same."""

    def __init__(self, folder):
        self._folder = folder
        self.broker = Broker(folder)

    def restart(self):
        self.broker.close()
        self.broker = Broker(self._folder)

    def publish(self, *payloads):
        raw = [types.PubsubMessage.pb(types.PubsubMessage(data=one)) for one in payloads]
        self.broker.publish(TOPIC, raw)

    def owed(self, name=ORDERS):
        """What the next process delivers."""
        self.restart()
        found = [one.message.data for one in self.broker.take(name, 100)]
        self.restart()
        return found


@pytest.fixture
def emulated(tmp_path, monkeypatch):
    """A subscription that gives up after five attempts, and one of what it gave up; the journal is always outgrown."""
    monkeypatch.setattr(journal, "_COMPACT_BYTES", 0)
    monkeypatch.setattr(journal, "_COMPACT_RATIO", 0)
    running = Emulated(tmp_path)
    for topic in (TOPIC, DEAD):
        running.broker.create_topic(types.Topic(name=topic))
    policy = types.DeadLetterPolicy(dead_letter_topic=DEAD, max_delivery_attempts=ATTEMPTS)
    running.broker.create_subscription(types.Subscription(name=ORDERS, topic=TOPIC, dead_letter_policy=policy))
    running.broker.create_subscription(types.Subscription(name=LETTERS, topic=DEAD))
    yield running
    running.broker.close()


def test_what_was_published_is_owed_after_each_publish(emulated):
    for count in range(1, 5):
        emulated.publish(str(count).encode())

        assert emulated.owed() == [str(number).encode() for number in range(1, count + 1)]


def test_what_was_given_up_is_a_dead_letter_after_each_giving_up(emulated, tmp_path, monkeypatch):
    """Also when it is the dead letter by which the journal outgrows its limit, and nothing after it."""
    for count in range(1, 4):
        monkeypatch.setattr(journal, "_COMPACT_BYTES", 1_000_000)
        emulated.publish(str(count).encode())
        for _ in range(ATTEMPTS):
            (one,) = emulated.broker.take(ORDERS, 1)
            monkeypatch.setattr(journal, "_COMPACT_BYTES", (tmp_path / "journal.jsonl").stat().st_size)
            emulated.broker.modify_deadline(ORDERS, [one.ack_id], 0)

        assert (emulated.owed(), len(emulated.owed(LETTERS))) == ([], count)


def test_a_lease_that_ends_for_the_last_time_loses_nothing(emulated):
    """Then it is the next pull that gives the message up."""
    emulated.publish(b"1")
    for _ in range(ATTEMPTS):
        emulated.broker.take(ORDERS, 1, deadline=0)
    assert emulated.broker.take(ORDERS, 1) == []

    assert (emulated.owed(), emulated.owed(LETTERS)) == ([], [b"1"])


def test_what_was_acknowledged_is_owed_no_more(emulated):
    emulated.publish(b"1", b"2")
    first, _ = emulated.broker.take(ORDERS, 2)
    emulated.broker.acknowledge(ORDERS, [first.ack_id])

    assert emulated.owed() == [b"2"]
