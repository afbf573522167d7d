"""Snapshots, seeks to a snapshot or a time, and detached subscriptions."""

from datetime import UTC, datetime, timedelta

import pytest
from google.api_core.exceptions import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from google.pubsub_v1 import types

from tests.emulators.pubsub.test_conformance import Queue, payloads
from tests.emulators.pubsub.test_restart import kill_and_restart
from tests.support.waiting import eventually


@pytest.fixture
def queue(emulator, project):
    return Queue(emulator, project)


@pytest.fixture
def retaining(emulator, project):
    """A subscription that retains acknowledged messages."""
    return Queue(emulator, project, retain_acked_messages=True)


def snapshot_name(project, name="before"):
    return f"projects/{project}/snapshots/{name}"


def seek(queue, **target):
    queue.subscriber.seek(request={"subscription": queue.name, **target})


def wait_until(moment):
    eventually(lambda: datetime.now(UTC) > moment)


def acknowledge_all(queue, count):
    messages = queue.pull_all(count)
    queue.acknowledge(*messages)
    return max(received.message.publish_time for received in messages)


def test_a_seek_to_a_snapshot_delivers_what_was_not_acknowledged_then_and_all_later_messages(queue, project):
    queue.publish(b"1", b"2")
    (first,) = queue.pull(1)
    queue.acknowledge(first)
    queue.subscriber.create_snapshot(name=snapshot_name(project), subscription=queue.name)
    queue.publish(b"3")
    acknowledge_all(queue, 2)
    seek(queue, snapshot=snapshot_name(project))

    assert payloads([first, *queue.pull_all(2)]) == {b"1": 1, b"2": 1, b"3": 1}


def test_a_seek_to_a_time_delivers_later_messages_that_are_retained(retaining):
    retaining.publish(b"1")
    start = acknowledge_all(retaining, 1) + timedelta(milliseconds=1)
    wait_until(start)
    retaining.publish(b"2", b"3")
    acknowledge_all(retaining, 2)
    seek(retaining, time=start)

    assert payloads(retaining.pull_all(2)) == {b"2": 1, b"3": 1}


def test_a_seek_to_the_time_of_a_message_delivers_it(retaining):
    for number in range(20):
        retaining.publish(b"%d" % number)
        time = acknowledge_all(retaining, 1)
        seek(retaining, time=time)
        (received,) = retaining.pull_all(1)
        retaining.acknowledge(received)

        assert received.message.data == b"%d" % number


def test_a_seek_to_the_future_acknowledges_every_message(queue):
    queue.publish(b"1", b"2")
    queue.pull(1)
    seek(queue, time=datetime.now(UTC) + timedelta(minutes=1))
    queue.publish(b"3")

    assert payloads(queue.pull_all(1)) == {b"3": 1}


def test_an_acknowledged_message_is_not_retained_by_default(queue):
    queue.publish(b"1")
    acknowledge_all(queue, 1)
    seek(queue, time=datetime.now(UTC) - timedelta(hours=1))
    queue.publish(b"2")

    assert payloads(queue.pull_all(1)) == {b"2": 1}


def test_a_topic_that_retains_messages_serves_a_subscription_that_acknowledged_them(helios_emulator, project):
    """Google's emulator stores the setting only."""
    queue = Queue(helios_emulator, project)
    topic = types.Topic(name=queue.topic, message_retention_duration=timedelta(hours=1))
    mask = {"paths": ["message_retention_duration"]}
    queue.publisher.update_topic(request={"topic": topic, "update_mask": mask})
    queue.publish(b"1")
    acknowledge_all(queue, 1)
    seek(queue, time=datetime.now(UTC) - timedelta(minutes=30))

    assert payloads(queue.pull_all(1)) == {b"1": 1}


def test_snapshots_can_be_read_listed_and_deleted(queue, project):
    name = snapshot_name(project)
    created = queue.subscriber.create_snapshot(name=name, subscription=queue.name)

    assert created.topic == queue.topic
    assert timedelta(days=6) < created.expire_time - datetime.now(UTC) <= timedelta(days=7)
    assert queue.subscriber.get_snapshot(snapshot=name) == created
    assert list(queue.subscriber.list_snapshots(project=f"projects/{project}")) == [created]
    assert list(queue.publisher.list_topic_snapshots(topic=queue.topic)) == [name]
    with pytest.raises(AlreadyExists):
        queue.subscriber.create_snapshot(name=name, subscription=queue.name)
    queue.subscriber.delete_snapshot(snapshot=name)
    with pytest.raises(NotFound):
        queue.subscriber.get_snapshot(snapshot=name)


def test_the_labels_and_the_expiry_of_a_snapshot_can_be_changed(helios_emulator, project):
    """Google's emulator does not implement UpdateSnapshot."""
    queue = Queue(helios_emulator, project)
    name = snapshot_name(project)
    queue.subscriber.create_snapshot(name=name, subscription=queue.name)
    soon = datetime.now(UTC) + timedelta(hours=2)

    def update(path: str, **fields):
        request = {"snapshot": types.Snapshot(name=name, **fields), "update_mask": {"paths": [path]}}
        return queue.subscriber.update_snapshot(request=request)

    update("labels", labels={"team": "shop"})
    changed = update("expire_time", expire_time=soon)
    assert (dict(changed.labels), changed.expire_time.timestamp()) == ({"team": "shop"}, soon.timestamp())
    with pytest.raises(InvalidArgument, match="expire_time"):
        update("expire_time", expire_time=datetime.now(UTC) + timedelta(days=8))
    with pytest.raises(InvalidArgument, match="topic"):
        update("topic", topic=queue.topic)


def test_an_expired_snapshot_is_gone(helios_emulator, project):
    queue = Queue(helios_emulator, project)
    name = snapshot_name(project)
    queue.subscriber.create_snapshot(name=name, subscription=queue.name)
    end = datetime.now(UTC) + timedelta(seconds=0.3)
    request = {"snapshot": types.Snapshot(name=name, expire_time=end), "update_mask": {"paths": ["expire_time"]}}
    queue.subscriber.update_snapshot(request=request)
    wait_until(end)

    with pytest.raises(NotFound):
        seek(queue, snapshot=name)
    assert list(queue.subscriber.list_snapshots(project=f"projects/{project}")) == []


def test_a_seek_to_nothing_or_to_an_unknown_snapshot_is_refused(queue, project):
    with pytest.raises(InvalidArgument):
        seek(queue)
    with pytest.raises(NotFound):
        seek(queue, snapshot=snapshot_name(project))


def test_a_snapshot_of_another_topic_is_refused(helios_emulator, project):
    other, queue = Queue(helios_emulator, f"{project}-other"), Queue(helios_emulator, project)
    other.subscriber.create_snapshot(name=snapshot_name(project), subscription=other.name)

    with pytest.raises(InvalidArgument, match="topic"):
        seek(queue, snapshot=snapshot_name(project))


def test_a_snapshot_and_retained_messages_survive_kill_9(killable, project):
    queue = Queue(killable, project, retain_acked_messages=True)
    queue.publish(b"1")
    queue.subscriber.create_snapshot(name=snapshot_name(project), subscription=queue.name)
    acknowledge_all(queue, 1)
    for _ in range(2):  # the first restart rewrites the journal, the second reads the new one
        kill_and_restart(killable)
    seek(queue, time=datetime.now(UTC) - timedelta(hours=1))
    by_time = payloads(queue.pull_all(1))
    seek(queue, snapshot=snapshot_name(project))
    kill_and_restart(killable)

    assert by_time == payloads(queue.pull_all(1)) == {b"1": 1}


def test_a_detached_subscription_loses_its_messages_and_receives_no_more(helios_emulator, project):
    """Google's emulator does not implement DetachSubscription."""
    queue = Queue(helios_emulator, project)
    queue.publish(b"1")
    (received,) = queue.pull_all(1)
    queue.publisher.detach_subscription(request={"subscription": queue.name})
    queue.publish(b"2")

    assert queue.subscriber.get_subscription(subscription=queue.name).detached
    assert list(queue.publisher.list_topic_subscriptions(topic=queue.topic)) == []
    assert helios_emulator.status()[queue.name] == {"waiting": 0, "leased": 0, "backing_off": 0}
    with pytest.raises(FailedPrecondition):
        queue.pull()
    with pytest.raises(FailedPrecondition):
        queue.acknowledge(received)


def test_a_detached_subscription_is_not_pushed_any_more(helios_emulator, project, receiver):
    receiver.answers = [500] * 1000
    queue = Queue(helios_emulator, project, push_config=types.PushConfig(push_endpoint=receiver.url))
    queue.publish(b"1")
    queue.publisher.detach_subscription(request={"subscription": queue.name})
    receiver.received.clear()
    other = queue.name + "-other"
    push = types.PushConfig(push_endpoint=f"{receiver.url}/other")
    queue.subscriber.create_subscription(name=other, topic=queue.topic, push_config=push)
    queue.publish(b"2")

    def paths() -> list[str]:
        return [request.path for request in receiver.received]

    eventually(lambda: paths().count("/other") >= 3)
    assert len(set(paths())) <= 2
    assert len(paths()) - paths().count("/other") <= 1, "only the push that was under way may still arrive"
