"""The messages that the emulator acknowledged to a publisher survive its end."""

import json
from base64 import b64decode

from google.cloud import pubsub_v1
from google.pubsub_v1 import types

from tests.emulators.pubsub.emulators import Helios
from tests.emulators.pubsub.test_conformance import Queue, payloads
from tests.support.waiting import eventually


def kill_and_restart(killable: Helios) -> None:
    killable.process.kill()
    killable.start()


def test_kill_9_loses_no_published_message(killable, project):
    queue = Queue(killable, project)
    queue.publish(*(str(number).encode() for number in range(100)))
    acknowledged = queue.pull(10)
    queue.acknowledge(*acknowledged)
    kill_and_restart(killable)
    remaining = queue.pull_all(100 - len(acknowledged))

    assert payloads(remaining) + payloads(acknowledged) == {str(number).encode(): 1 for number in range(100)}
    assert killable.stats()["recovered"] == 100 - len(acknowledged)


def test_pushes_continue_after_kill_9(killable, project, receiver):
    receiver.answers = [500] * 3
    queue = Queue(killable, project, push_config=types.PushConfig(push_endpoint=receiver.url))
    queue.publish(*(str(number).encode() for number in range(20)))
    kill_and_restart(killable)
    eventually(lambda: killable.status()[queue.name] == {"waiting": 0, "leased": 0, "backing_off": 0})

    assert {b64decode(json.loads(request.body)["message"]["data"]) for request in receiver.received} == {
        str(number).encode() for number in range(20)
    }


def test_a_deleted_subscription_stays_deleted_after_kill_9(killable, project):
    queue = Queue(killable, project)
    queue.publish(b"1")
    queue.subscriber.delete_subscription(subscription=queue.name)
    kill_and_restart(killable)

    assert list(queue.publisher.list_topic_subscriptions(topic=queue.topic)) == []


def test_a_partial_line_in_the_journal_is_skipped(killable, project):
    queue = Queue(killable, project)
    queue.publish(b"1")
    killable.process.kill()
    with (killable.folder / "journal.jsonl").open("ab") as journal:
        journal.write(b'["owed","projects/')
    killable.start()

    assert payloads(queue.pull()) == {b"1": 1}
    assert killable.stats()["unreadable"] == 1


def test_an_emulator_without_its_journal_gives_no_id_twice(killable, project, tmp_path):
    """Helios takes the message id as the event's id if the publisher sets none: a reused id would be a duplicate."""
    (before,) = Queue(killable, project).publish(b"1")
    killable.process.kill()
    (tmp_path / "journal.jsonl").unlink()
    killable.start()
    (after,) = Queue(killable, project).publish(b"1")

    assert int(after) > int(before)


def test_the_order_of_a_key_survives_kill_9(killable, project):
    queue = Queue(killable, project, enable_message_ordering=True)
    options = pubsub_v1.types.PublisherOptions(enable_message_ordering=True)
    publisher = killable.publisher(publisher_options=options)
    sent = [publisher.publish(queue.topic, str(number).encode(), ordering_key="ORD-1") for number in range(5)]
    for future in sent:
        future.result(timeout=30)
    queue.pull()
    for _ in range(2):  # the first restart rewrites the journal, the second reads the new one
        kill_and_restart(killable)

    assert [received.message.data for received in queue.pull_all(5)] == [b"0", b"1", b"2", b"3", b"4"]
