"""What was acknowledged to a publisher survives the emulator."""

import json
from base64 import b64decode

import pytest
from google.cloud import pubsub_v1
from google.pubsub_v1 import types

from tests.emulators.pubsub.emulators import Helios
from tests.emulators.pubsub.test_conformance import Queue, payloads
from tests.support.waiting import eventually


@pytest.fixture
def mortal(tmp_path):
    """An emulator that may be killed."""
    running = Helios(tmp_path)
    running.start()
    yield running
    running.close()


def revived(mortal: Helios) -> None:
    mortal.process.kill()
    mortal.start()


def test_nothing_that_was_published_is_lost_by_kill_9(mortal, project):
    queue = Queue(mortal, project)
    queue.publish(*(str(number).encode() for number in range(100)))
    done = queue.pull(10)
    queue.acknowledge(*done)
    revived(mortal)
    left = queue.pull_all(100 - len(done))

    assert payloads(left) + payloads(done) == {str(number).encode(): 1 for number in range(100)}
    assert mortal.figures()["recovered"] == 100 - len(done)


def test_a_push_goes_on_after_kill_9(mortal, project, receiver):
    receiver.answers = [500] * 3
    queue = Queue(mortal, project, push_config=types.PushConfig(push_endpoint=receiver.url))
    queue.publish(*(str(number).encode() for number in range(20)))
    revived(mortal)
    eventually(lambda: mortal.status()[queue.name] == {"waiting": 0, "leased": 0, "backing_off": 0})

    assert {b64decode(json.loads(one.body)["message"]["data"]) for one in receiver.received} == {
        str(number).encode() for number in range(20)
    }


def test_what_was_deleted_stays_deleted(mortal, project):
    queue = Queue(mortal, project)
    queue.publish(b"1")
    queue.subscriber.delete_subscription(subscription=queue.name)
    revived(mortal)

    assert list(queue.publisher.list_topic_subscriptions(topic=queue.topic)) == []


def test_a_line_that_the_end_cut_off_costs_only_itself(mortal, project):
    queue = Queue(mortal, project)
    queue.publish(b"1")
    mortal.process.kill()
    with (mortal.folder / "journal.jsonl").open("ab") as journal:
        journal.write(b'["owed","projects/')
    mortal.start()

    assert payloads(queue.pull()) == {b"1": 1}
    assert mortal.figures()["unreadable"] == 1


def test_an_emulator_without_a_memory_gives_no_id_twice(mortal, project, tmp_path):
    """Helios knows a message by its id, if the publisher gave none: an old one would pass for a duplicate."""
    (before,) = Queue(mortal, project).publish(b"1")
    mortal.process.kill()
    (tmp_path / "journal.jsonl").unlink()
    mortal.start()
    (after,) = Queue(mortal, project).publish(b"1")

    assert int(after) > int(before)


def test_the_order_of_a_key_survives(mortal, project):
    queue = Queue(mortal, project, enable_message_ordering=True)
    options = pubsub_v1.types.PublisherOptions(enable_message_ordering=True)
    publisher = mortal.publisher(publisher_options=options)
    sent = [publisher.publish(queue.topic, str(number).encode(), ordering_key="ORD-1") for number in range(5)]
    for future in sent:
        future.result(timeout=30)
    queue.pull()
    for _ in range(2):  # the first writes the journal anew, the second reads that
        revived(mortal)
    found = []
    for _ in range(5):
        (one,) = queue.pull_all(1)
        found.append(one.message.data)
        queue.acknowledge(one)

    assert found == [b"0", b"1", b"2", b"3", b"4"]
