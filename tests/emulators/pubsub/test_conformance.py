"""The behaviour that Pub/Sub documents, on the emulator of Helios and, where it is installed, on Google's."""

import base64
import json
import time
from collections import Counter
from contextlib import contextmanager, suppress
from datetime import timedelta
from threading import Event, Timer

import pytest
from google.api_core.exceptions import (
    AlreadyExists,
    Cancelled,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    OutOfRange,
)
from google.cloud import pubsub_v1
from google.pubsub_v1 import PublisherClient as GapicPublisher
from google.pubsub_v1 import types

from tests.support.waiting import eventually


class Queue:
    """A topic with a subscription, and both clients."""

    def __init__(self, emulator, project, **subscription):
        self.publisher = emulator.publisher()
        self.subscriber = emulator.subscriber()
        self.topic = f"projects/{project}/topics/orders"
        self.name = f"projects/{project}/subscriptions/orders"
        self.publisher.create_topic(name=self.topic)
        resource = types.Subscription(name=self.name, topic=self.topic, **subscription)
        self.subscriber.create_subscription(request=resource)

    def publish(self, *payloads: bytes, **attributes: str) -> list[str]:
        sent = [self.publisher.publish(self.topic, payload, **attributes) for payload in payloads]
        return [future.result(timeout=30) for future in sent]

    def pull(self, most: int = 100) -> list[types.ReceivedMessage]:
        request = {"subscription": self.name, "max_messages": most, "return_immediately": False}
        return list(self.subscriber.pull(request=request, timeout=20).received_messages)

    def pull_all(self, count: int) -> list[types.ReceivedMessage]:
        """Pull until there are at least ``count`` messages."""
        pulled: list[types.ReceivedMessage] = []

        def has_enough() -> bool:
            if len(pulled) < count:
                pulled.extend(self.pull())
            return len(pulled) >= count

        eventually(has_enough)
        return pulled

    def acknowledge(self, *messages: types.ReceivedMessage) -> None:
        self.subscriber.acknowledge(subscription=self.name, ack_ids=[message.ack_id for message in messages])

    def nack(self, *messages: types.ReceivedMessage) -> None:
        ids = [message.ack_id for message in messages]
        self.subscriber.modify_ack_deadline(subscription=self.name, ack_ids=ids, ack_deadline_seconds=0)


@pytest.fixture
def queue(emulator, project):
    return Queue(emulator, project)


@contextmanager
def streaming(queue, callback, **flow):
    """Run a streaming pull until the block ends."""
    stream = queue.subscriber.subscribe(queue.name, callback, flow_control=pubsub_v1.types.FlowControl(**flow))
    try:
        yield
    finally:
        stream.cancel()
        stream.result(timeout=20)


def payloads(messages):
    return Counter(received.message.data for received in messages)


def test_topics_and_subscriptions_can_be_read_listed_and_deleted(emulator, project, queue):
    assert queue.publisher.get_topic(topic=queue.topic).name == queue.topic
    assert queue.subscriber.get_subscription(subscription=queue.name).topic == queue.topic
    assert [topic.name for topic in queue.publisher.list_topics(project=f"projects/{project}")] == [queue.topic]
    subscriptions = queue.subscriber.list_subscriptions(project=f"projects/{project}")
    assert [subscription.name for subscription in subscriptions] == [queue.name]
    assert list(queue.publisher.list_topic_subscriptions(topic=queue.topic)) == [queue.name]

    queue.subscriber.delete_subscription(subscription=queue.name)
    queue.publisher.delete_topic(topic=queue.topic)
    assert list(queue.publisher.list_topics(project=f"projects/{project}")) == []
    with pytest.raises(NotFound):
        queue.subscriber.get_subscription(subscription=queue.name)


def test_a_name_that_exists_is_refused(queue):
    with pytest.raises(AlreadyExists):
        queue.publisher.create_topic(name=queue.topic)
    with pytest.raises(AlreadyExists):
        queue.subscriber.create_subscription(name=queue.name, topic=queue.topic)


def test_an_unknown_topic_or_subscription_is_not_found(emulator, project):
    with pytest.raises(NotFound):
        emulator.publisher().get_topic(topic=f"projects/{project}/topics/nothing")
    with pytest.raises(NotFound):
        emulator.publisher().publish(f"projects/{project}/topics/nothing", b"x").result(timeout=30)
    with pytest.raises(NotFound):
        emulator.subscriber().pull(subscription=f"projects/{project}/subscriptions/nothing", max_messages=1)


def test_a_subscription_needs_its_topic(emulator, project):
    with pytest.raises(NotFound):
        emulator.subscriber().create_subscription(
            name=f"projects/{project}/subscriptions/orders", topic=f"projects/{project}/topics/nothing"
        )


@pytest.mark.parametrize("name", ["x", "9digits", "goog-orders", "a" * 256])
def test_a_bad_name_is_refused(emulator, project, name):
    with pytest.raises(InvalidArgument):
        emulator.publisher().create_topic(name=f"projects/{project}/topics/{name}")


MALFORMED = ["123", "orders", "projects/p/topics/x", "projects/p/nonsense/orders", "projects/p/topics/orders/x"]


@pytest.mark.parametrize("name", MALFORMED)
@pytest.mark.parametrize(
    "call",
    [
        lambda publisher, _, name: publisher.get_topic(topic=name),
        lambda publisher, _, name: GapicPublisher.publish(
            publisher, topic=name, messages=[types.PubsubMessage(data=b"x")]
        ),
        lambda publisher, _, name: publisher.list_topic_subscriptions(topic=name, retry=None),
        lambda publisher, _, name: publisher.delete_topic(topic=name),
        lambda _, subscriber, name: subscriber.create_subscription(name=f"{GOOD}-new", topic=name),
        lambda _, subscriber, name: subscriber.get_subscription(subscription=name),
        lambda _, subscriber, name: subscriber.pull(subscription=name, max_messages=1),
        lambda _, subscriber, name: subscriber.acknowledge(subscription=name, ack_ids=["1"]),
        lambda _, subscriber, name: subscriber.delete_subscription(subscription=name),
        lambda _, subscriber, name: subscriber.get_snapshot(snapshot=name),
        lambda _, subscriber, name: subscriber.create_snapshot(name=f"{GOOD}-new", subscription=name),
        lambda _, subscriber, name: list(subscriber.streaming_pull(requests=iter([_first_request(name)]))),
    ],
)
def test_a_malformed_name_is_invalid_wherever_it_is_looked_up(emulator, call, name):
    with pytest.raises(InvalidArgument):
        call(emulator.publisher(), emulator.subscriber(), name)


GOOD = "projects/p/subscriptions/orders"


def _first_request(name):
    return types.StreamingPullRequest(subscription=name, stream_ack_deadline_seconds=10)


def test_a_malformed_project_is_invalid(helios_emulator):
    """Google's emulator lists nothing, or fails with UNKNOWN."""
    for name in ("p", "projects/", "projects/p/topics"):
        with pytest.raises(InvalidArgument):
            helios_emulator.publisher().list_topics(project=name)
        with pytest.raises(InvalidArgument):
            helios_emulator.subscriber().list_subscriptions(project=name)
        with pytest.raises(InvalidArgument):
            helios_emulator.subscriber().list_snapshots(project=name)


def test_lists_have_pages(emulator, project, queue):
    names = [f"projects/{project}/topics/topic-{number}" for number in range(5)]
    for name in names:
        queue.publisher.create_topic(name=name)
    pages = queue.publisher.list_topics(request={"project": f"projects/{project}", "page_size": 2}).pages

    assert [[topic.name for topic in page.topics] for page in pages] == [
        [queue.topic, names[0]],
        names[1:3],
        names[3:],
    ]


def test_a_page_neither_repeats_nor_skips_a_topic_after_a_change(emulator, project, queue):
    for number in range(4):
        queue.publisher.create_topic(name=f"projects/{project}/topics/topic-{number}")
    request = {"project": f"projects/{project}", "page_size": 2}
    pages = iter(queue.publisher.list_topics(request=request).pages)
    next(pages)
    queue.publisher.create_topic(name=f"projects/{project}/topics/an-earlier-name")

    assert [topic.name.rpartition("/")[2] for page in pages for topic in page.topics] == [
        "topic-1",
        "topic-2",
        "topic-3",
    ]


@pytest.mark.parametrize("page", [{"page_size": -1}, {"page_token": "nonsense!"}, {"page_token": "_w=="}])
def test_an_invalid_page_is_refused(helios_emulator, project, page):
    """Google's emulator takes any number, and any text for a token."""
    queue = Queue(helios_emulator, project)
    with pytest.raises(InvalidArgument, match="page_"):
        queue.publisher.list_topics(request={"project": f"projects/{project}", **page})


def test_a_push_subscription_can_not_be_pulled_as_a_stream(emulator, project):
    """A pull would take the messages away from the endpoint."""
    queue = Queue(emulator, project, push_config=types.PushConfig(push_endpoint="http://127.0.0.1:1/"))
    with pytest.raises(FailedPrecondition):
        list(queue.subscriber.streaming_pull(requests=_requests(_first_request(queue.name)), timeout=20))


def test_a_push_subscription_can_not_be_pulled(helios_emulator, project):
    """Google's emulator answers such a pull with no message."""
    queue = Queue(helios_emulator, project, push_config=types.PushConfig(push_endpoint="http://127.0.0.1:1/"))
    queue.publish(b"1")
    with pytest.raises(FailedPrecondition):
        queue.pull()


def test_a_stream_ends_when_its_subscription_becomes_a_push_subscription(helios_emulator, project):
    """Google's emulator lets the stream go on."""
    queue = Queue(helios_emulator, project)
    stream = queue.subscriber.streaming_pull(requests=_requests(_first_request(queue.name)), timeout=20)
    push = types.PushConfig(push_endpoint="http://127.0.0.1:1/")
    queue.subscriber.modify_push_config(subscription=queue.name, push_config=push)
    with pytest.raises(FailedPrecondition):
        list(stream)


def _requests(*requests):
    """These requests, without the end of the stream."""
    yield from requests
    Event().wait(10)


def test_a_malformed_ack_id_is_refused(queue):
    with pytest.raises(InvalidArgument):
        queue.subscriber.acknowledge(subscription=queue.name, ack_ids=["bogus"])
    with pytest.raises(InvalidArgument):
        queue.subscriber.modify_ack_deadline(subscription=queue.name, ack_ids=["bogus"], ack_deadline_seconds=10)


@pytest.mark.parametrize(
    "later",
    [
        {"ack_ids": ["bogus"]},
        {"modify_deadline_ack_ids": ["bogus"], "modify_deadline_seconds": [10]},
        {"subscription": GOOD},
    ],
)
def test_an_invalid_later_request_ends_a_stream(queue, later):
    requests = _requests(_first_request(queue.name), types.StreamingPullRequest(**later))
    with pytest.raises(InvalidArgument):
        list(queue.subscriber.streaming_pull(requests=requests, timeout=20))


@pytest.mark.parametrize("field", ["max_outstanding_messages", "max_outstanding_bytes"])
def test_the_limits_of_a_stream_can_not_be_changed(helios_emulator, project, field):
    """As the API documents; Google's emulator ignores a later value."""
    queue = Queue(helios_emulator, project)
    requests = _requests(_first_request(queue.name), types.StreamingPullRequest(**{field: 5}))
    with pytest.raises(InvalidArgument, match=field):
        list(queue.subscriber.streaming_pull(requests=requests, timeout=20))


def _first_batches(queue, expected, **limits):
    """The payloads that a stream delivers without an acknowledgement, until half a second after the expected ones."""
    first = _first_request(queue.name)
    for name, value in limits.items():
        setattr(first, name, value)
    stream = queue.subscriber.streaming_pull(requests=_requests(first), timeout=20)
    deliveries = []
    with suppress(DeadlineExceeded, Cancelled):
        for response in stream:
            deliveries += [received.message.data for received in response.received_messages]
            if len(deliveries) >= expected:
                Timer(0.5, stream.cancel).start()
    return deliveries


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, 20),
        ({"max_outstanding_messages": 3}, 3),
        ({"max_outstanding_messages": 0}, 20),
        ({"max_outstanding_messages": -1}, 20),
        ({"max_outstanding_bytes": 250}, 3),  # the API stops once the limit is reached
        ({"max_outstanding_bytes": 1}, 1),
        ({"max_outstanding_bytes": -1, "max_outstanding_messages": -1}, 20),
    ],
)
def test_a_stream_delivers_within_the_client_s_limits(helios_emulator, project, limits, expected):
    """Google's emulator ignores these limits."""
    queue = Queue(helios_emulator, project)
    queue.publish(*(b"%02d" % number + b"x" * 98 for number in range(20)))

    assert len(_first_batches(queue, expected, **limits)) == expected


def test_a_pulled_message_equals_the_published_one(queue):
    (id_,) = queue.publish(b'{"order_id": "ORD-1"}', event_type="PaymentProcessed")
    (received,) = queue.pull()
    message = received.message

    assert (message.data, dict(message.attributes)) == (b'{"order_id": "ORD-1"}', {"event_type": "PaymentProcessed"})
    assert message.message_id == id_
    assert message.publish_time.year >= 2025


def test_an_acknowledged_message_is_not_delivered_again(queue):
    queue.publish(b"1", b"2")
    first = queue.pull_all(2)
    queue.acknowledge(*first)
    queue.publish(b"3")

    assert payloads(queue.pull()) == {b"3": 1}


def test_a_nacked_message_is_delivered_again(queue):
    queue.publish(b"1")
    (first,) = queue.pull()
    queue.nack(first)
    (second,) = queue.pull()

    assert (second.message.message_id, second.ack_id != first.ack_id) == (first.message.message_id, True)


def test_a_message_is_delivered_again_when_its_lease_ends(queue):
    queue.publish(b"1")
    (first,) = queue.pull()
    queue.subscriber.modify_ack_deadline(subscription=queue.name, ack_ids=[first.ack_id], ack_deadline_seconds=1)

    assert payloads(queue.pull_all(1)) == {b"1": 1}


def test_every_subscription_gets_every_message(queue):
    other = queue.name + "-too"
    queue.subscriber.create_subscription(name=other, topic=queue.topic)
    queue.publish(b"1")
    first = queue.pull()
    queue.name = other

    assert payloads(first) == payloads(queue.pull()) == {b"1": 1}


def test_a_streaming_pull_receives_and_acknowledges_every_message(queue):
    deliveries: Counter[bytes] = Counter()

    def note(message: pubsub_v1.subscriber.message.Message) -> None:
        deliveries[message.data] += 1
        message.ack()

    with streaming(queue, note, max_messages=10):
        queue.publish(*(str(number).encode() for number in range(200)))
        eventually(lambda: len(deliveries) == 200)

    assert set(deliveries.values()) == {1}


def test_a_message_that_a_streaming_pull_nacks_is_delivered_again(queue):
    deliveries: Counter[bytes] = Counter()

    def note(message: pubsub_v1.subscriber.message.Message) -> None:
        deliveries[message.data] += 1
        message.ack() if deliveries[message.data] == 3 else message.nack()

    with streaming(queue, note):
        queue.publish(b"1", b"2")
        eventually(lambda: deliveries == {b"1": 3, b"2": 3})
        queue.publish(b"3")
        eventually(lambda: deliveries[b"3"] == 3)

    assert deliveries == {b"1": 3, b"2": 3, b"3": 3}


def test_a_lease_that_a_streaming_pull_extends_does_not_end(queue):
    """The client extends the lease by 10 s at a time until the callback returns."""
    deliveries: Counter[bytes] = Counter()
    done = Event()

    def slow(message: pubsub_v1.subscriber.message.Message) -> None:
        deliveries[message.data] += 1
        done.wait(30)
        message.ack()

    with streaming(queue, slow, min_duration_per_lease_extension=10, max_duration_per_lease_extension=10):
        queue.publish(b"1")
        eventually(lambda: deliveries == {b"1": 1})
        assert not done.wait(12)  # longer than the lease: a second delivery would have arrived
        done.set()
    queue.publish(b"2")

    assert (payloads(queue.pull_all(1)), deliveries) == ({b"2": 1}, {b"1": 1})


@pytest.mark.parametrize(
    "fields",
    [
        {"modify_deadline_ack_ids": ["1", "2"], "modify_deadline_seconds": [10]},
        {"modify_deadline_ack_ids": ["1"], "modify_deadline_seconds": [601]},
        {"modify_deadline_ack_ids": ["1"], "modify_deadline_seconds": [-1]},
    ],
    ids=["unequal", "too long", "negative"],
)
def test_a_streaming_pull_refuses_an_invalid_deadline(queue, fields):
    def requests():
        yield types.StreamingPullRequest(subscription=queue.name, stream_ack_deadline_seconds=10)
        yield types.StreamingPullRequest(**fields)

    with pytest.raises(InvalidArgument):
        list(queue.subscriber.streaming_pull(requests=requests(), timeout=20))


def test_messages_of_one_ordering_key_are_delivered_in_order(emulator, project):
    queue = Queue(emulator, project, enable_message_ordering=True)
    options = pubsub_v1.types.PublisherOptions(enable_message_ordering=True)
    publisher = emulator.publisher(publisher_options=options)
    sent = [publisher.publish(queue.topic, str(number).encode(), ordering_key="ORD-1") for number in range(20)]
    for future in sent:
        future.result(timeout=30)
    delivered: list[bytes] = []

    def all_delivered() -> bool:
        messages = queue.pull()
        delivered.extend(received.message.data for received in messages)
        queue.acknowledge(*messages)
        return len(delivered) >= 20

    eventually(all_delivered)
    assert delivered == [str(number).encode() for number in range(20)]


def test_messages_of_one_ordering_key_are_delivered_in_one_batch(emulator, project):
    queue = Queue(emulator, project, enable_message_ordering=True)
    messages = [types.PubsubMessage(data=b"%d" % number, ordering_key="ORD-1") for number in range(20)]
    GapicPublisher.publish(queue.publisher, topic=queue.topic, messages=messages)

    assert [received.message.data for received in queue.pull(15)] == [b"%d" % number for number in range(15)]


@pytest.mark.parametrize("ordered", [False, True])
def test_a_stream_says_whether_its_messages_are_ordered(emulator, project, ordered):
    """Go's client handles the messages of a key one by one only if the response has this property."""
    queue = Queue(emulator, project, enable_message_ordering=ordered)
    queue.publish(b"1")
    stream = queue.subscriber.streaming_pull(requests=_requests(_first_request(queue.name)), timeout=20)

    assert next(iter(stream)).subscription_properties.message_ordering_enabled == ordered
    stream.cancel()


def test_a_failed_message_of_an_ordering_key_is_delivered_before_the_later_ones(helios_emulator, project):
    """Google's emulator delivers it last."""
    queue = Queue(helios_emulator, project, enable_message_ordering=True)
    messages = [types.PubsubMessage(data=b"%d" % number, ordering_key="ORD-1") for number in range(4)]
    GapicPublisher.publish(queue.publisher, topic=queue.topic, messages=messages)
    first, second, third, _ = queue.pull()
    queue.nack(second)
    queue.acknowledge(first, third)

    assert [received.message.data for received in queue.pull_all(3)] == [b"1", b"2", b"3"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('attributes.cloud = "gcp"', {b"gcp"}),
        ('attributes.cloud != "gcp"', {b"aws", b"none"}),
        ("attributes:cloud", {b"gcp", b"aws"}),
        ("NOT attributes:cloud", {b"none"}),
        ('hasPrefix(attributes.cloud, "a")', {b"aws"}),
        ('attributes.cloud = "gcp" OR attributes.cloud = "aws"', {b"gcp", b"aws"}),
        ('attributes:cloud AND NOT (attributes.cloud = "gcp")', {b"aws"}),
    ],
)
def test_a_filter_selects_messages_by_their_attributes(helios_emulator, project, text, expected):
    """Google's emulator accepts a filter and ignores it."""
    queue = Queue(helios_emulator, project, filter=text)
    queue.publish(b"gcp", cloud="gcp")
    queue.publish(b"aws", cloud="aws")
    queue.publish(b"none")

    assert set(payloads(queue.pull_all(len(expected)))) == expected


def test_an_invalid_filter_is_refused(helios_emulator, project):
    """Google's emulator does not parse filters."""
    with pytest.raises(InvalidArgument):
        Queue(helios_emulator, project, filter="payload.amount > 10")


def test_a_message_goes_to_the_dead_letter_topic_after_its_last_attempt(helios_emulator, project):
    """Google's emulator counts attempts and forwards nothing."""
    dead = Queue(helios_emulator, f"{project}-dead")
    policy = types.DeadLetterPolicy(dead_letter_topic=dead.topic, max_delivery_attempts=5)
    queue = Queue(helios_emulator, project, dead_letter_policy=policy)
    queue.publish(b"poison", order="1")
    attempts = []
    for _ in range(5):
        (received,) = queue.pull_all(1)
        attempts.append(received.delivery_attempt)
        queue.nack(received)
    (dead_letter,) = dead.pull_all(1)

    assert attempts == [1, 2, 3, 4, 5]
    assert dead_letter.message.data == b"poison"
    assert dead_letter.message.attributes["order"] == "1"
    assert dead_letter.message.attributes["CloudPubSubDeadLetterSourceSubscription"] == "orders"


def test_a_push_is_wrapped_and_acknowledged_by_its_status(emulator, project, receiver):
    push = types.PushConfig(push_endpoint=f"{receiver.url}/push")
    queue = Queue(emulator, project, push_config=push)
    (id_,) = queue.publish(b'{"order_id": "ORD-1"}', event_type="PaymentProcessed")
    eventually(lambda: len(receiver.received) == 1)
    body = json.loads(receiver.received[0].body)

    assert receiver.received[0].path == "/push"
    assert base64.b64decode(body["message"]["data"]) == b'{"order_id": "ORD-1"}'
    assert (body["message"]["messageId"], body["message"]["attributes"]) == (id_, {"event_type": "PaymentProcessed"})
    assert body["subscription"] == queue.name


def test_a_push_is_repeated_until_the_endpoint_acknowledges_it(emulator, project, receiver):
    receiver.answers = [500, 503, 400]
    push = types.PushConfig(push_endpoint=receiver.url)
    queue = Queue(emulator, project, push_config=push)
    queue.publish(b"1")
    eventually(lambda: len(receiver.received) == 4)
    queue.publish(b"2")
    eventually(lambda: len(receiver.received) == 5)

    data = [base64.b64decode(json.loads(request.body)["message"]["data"]) for request in receiver.received]
    assert data == [b"1", b"1", b"1", b"1", b"2"]


def test_the_push_endpoint_can_be_changed(emulator, project, receiver):
    queue = Queue(emulator, project)
    push = types.PushConfig(push_endpoint=receiver.url)
    queue.subscriber.modify_push_config(subscription=queue.name, push_config=push)
    queue.publish(b"1")
    eventually(lambda: len(receiver.received) == 1)

    assert queue.subscriber.get_subscription(subscription=queue.name).push_config.push_endpoint == receiver.url


def test_a_subscription_can_be_updated_by_a_field_mask(queue):
    changed = types.Subscription(name=queue.name, ack_deadline_seconds=42, labels={"team": "shop"})
    queue.subscriber.update_subscription(
        request={"subscription": changed, "update_mask": {"paths": ["ack_deadline_seconds"]}}
    )
    subscription = queue.subscriber.get_subscription(subscription=queue.name)

    assert (subscription.ack_deadline_seconds, dict(subscription.labels)) == (42, {})


def test_a_field_mask_may_name_a_nested_field(helios_emulator, project):
    """Google's emulator refuses a path with a dot."""
    token = types.PushConfig.OidcToken(service_account_email="a@b", audience="https://helios.example")
    queue = Queue(
        helios_emulator, project, push_config=types.PushConfig(push_endpoint="http://127.0.0.1:1/", oidc_token=token)
    )

    def updated(push: types.PushConfig, path: str) -> types.PushConfig:
        request = {
            "subscription": types.Subscription(name=queue.name, push_config=push),
            "update_mask": {"paths": [path]},
        }
        return queue.subscriber.update_subscription(request=request).push_config

    moved = updated(types.PushConfig(push_endpoint="http://127.0.0.1:2/"), "push_config.push_endpoint")
    assert (moved.push_endpoint, moved.oidc_token) == ("http://127.0.0.1:2/", token)
    bare = updated(types.PushConfig(), "push_config.oidc_token.audience")
    assert (bare.push_endpoint, bare.oidc_token.audience) == ("http://127.0.0.1:2/", "")
    assert bare.oidc_token.service_account_email == "a@b"


@pytest.mark.parametrize(
    "path",
    [
        *("nonsense", "push_config.nonsense", "labels.team", "topic"),
        *("detached", "state", "topic_message_retention_duration"),
    ],
)
def test_a_field_mask_with_a_read_only_or_unknown_field_is_refused(queue, path):
    request = {"subscription": types.Subscription(name=queue.name), "update_mask": {"paths": [path]}}
    with pytest.raises(InvalidArgument):
        queue.subscriber.update_subscription(request=request)


@pytest.mark.parametrize("path", ["nonsense", "name", "state", "satisfies_pzs"])
def test_a_field_mask_of_a_topic_with_a_read_only_or_unknown_field_is_refused(queue, path):
    with pytest.raises(InvalidArgument):
        queue.publisher.update_topic(request={"topic": types.Topic(name=queue.topic), "update_mask": {"paths": [path]}})


def test_fields_that_only_the_service_sets_are_ignored_in_a_new_subscription(helios_emulator, project):
    """Google's emulator creates a detached subscription."""
    queue = Queue(
        helios_emulator,
        project,
        detached=True,
        state=types.Subscription.State.RESOURCE_ERROR,
        topic_message_retention_duration=timedelta(hours=1),
    )
    subscription = queue.subscriber.get_subscription(subscription=queue.name)

    assert (subscription.detached, subscription.state) == (False, types.Subscription.State.ACTIVE)
    assert "topic_message_retention_duration" not in subscription


def test_a_pull_subscription_has_an_empty_push_config(queue):
    """Node's client reads ``metadata.pushConfig.pushEndpoint``."""
    assert "push_config" in queue.subscriber.get_subscription(subscription=queue.name)


@pytest.mark.parametrize("topic", ["", "nonsense"])
def test_a_dead_letter_policy_needs_a_topic(helios_emulator, project, topic):
    """Google's emulator answers NOT_FOUND."""
    policy = types.DeadLetterPolicy(dead_letter_topic=topic, max_delivery_attempts=5)
    with pytest.raises(InvalidArgument):
        Queue(helios_emulator, project, dead_letter_policy=policy)


def test_a_topic_can_be_updated_by_a_field_mask(queue):
    changed = types.Topic(name=queue.topic, message_retention_duration=timedelta(hours=1), labels={"team": "shop"})
    mask = {"paths": ["message_retention_duration"]}
    queue.publisher.update_topic(request={"topic": changed, "update_mask": mask})
    topic = queue.publisher.get_topic(topic=queue.topic)

    assert (topic.message_retention_duration, dict(topic.labels)) == (timedelta(hours=1), {})


def test_the_labels_of_a_topic_can_be_updated(helios_emulator, project):
    """Google's emulator supports only two fields of a topic in a mask."""
    queue = Queue(helios_emulator, project)
    changed = types.Topic(name=queue.topic, labels={"team": "shop"})
    queue.publisher.update_topic(request={"topic": changed, "update_mask": {"paths": ["labels"]}})

    assert dict(queue.publisher.get_topic(topic=queue.topic).labels) == {"team": "shop"}


def test_an_unknown_topic_can_not_be_updated(emulator, project):
    changed = types.Topic(name=f"projects/{project}/topics/nothing", message_retention_duration=timedelta(hours=1))
    mask = {"paths": ["message_retention_duration"]}
    with pytest.raises(NotFound):
        emulator.publisher().update_topic(request={"topic": changed, "update_mask": mask})


@pytest.mark.parametrize("seconds", [5, 601])
def test_an_ack_deadline_out_of_range_is_refused(helios_emulator, project, seconds):
    """Google's emulator accepts 5 seconds, the service does not."""
    with pytest.raises(InvalidArgument):
        Queue(helios_emulator, project, ack_deadline_seconds=seconds)


def test_a_number_of_attempts_out_of_range_is_refused(emulator, project):
    dead = Queue(emulator, f"{project}-dead")
    for attempts in (4, 101):
        policy = types.DeadLetterPolicy(dead_letter_topic=dead.topic, max_delivery_attempts=attempts)
        with pytest.raises(OutOfRange):
            Queue(emulator, f"{project}-{attempts}", dead_letter_policy=policy)


def test_a_dead_letter_topic_must_exist(emulator, project):
    policy = types.DeadLetterPolicy(dead_letter_topic=f"projects/{project}/topics/nothing")
    with pytest.raises(NotFound):
        Queue(emulator, project, dead_letter_policy=policy)


def test_a_subscription_has_default_values(emulator, project):
    dead = Queue(emulator, f"{project}-dead")
    queue = Queue(
        emulator,
        project,
        dead_letter_policy=types.DeadLetterPolicy(dead_letter_topic=dead.topic),
        retry_policy=types.RetryPolicy(),
    )
    subscription = queue.subscriber.get_subscription(subscription=queue.name)

    assert subscription.ack_deadline_seconds == 10
    assert subscription.message_retention_duration == timedelta(days=7)
    assert subscription.dead_letter_policy.max_delivery_attempts == 5
    policy = subscription.retry_policy
    assert (policy.minimum_backoff, policy.maximum_backoff) == (timedelta(seconds=10), timedelta(seconds=600))


@pytest.mark.parametrize("endpoint", ["nonsense", "ftp://127.0.0.1/"])
def test_an_endpoint_that_is_not_a_url_is_refused(emulator, project, endpoint):
    with pytest.raises(InvalidArgument):
        Queue(emulator, project, push_config=types.PushConfig(push_endpoint=endpoint))


def test_an_acknowledgement_without_ids_is_refused(queue):
    with pytest.raises(InvalidArgument):
        queue.acknowledge()
    with pytest.raises(InvalidArgument):
        queue.nack()


def test_a_streaming_pull_needs_a_deadline_in_range(queue):
    request = types.StreamingPullRequest(subscription=queue.name, stream_ack_deadline_seconds=9)
    with pytest.raises(InvalidArgument):
        list(queue.subscriber.streaming_pull(requests=iter([request]), timeout=20))


def test_more_than_1000_messages_in_a_request_are_refused(queue):
    request = {"topic": queue.topic, "messages": [{"data": b"x"}] * 1001}
    with pytest.raises(InvalidArgument):
        GapicPublisher.publish(queue.publisher, request=request, timeout=20)


@pytest.mark.parametrize(
    "messages",
    [
        [{"data": b"x" * 5_000_001}] * 2,
        [{"data": b"x", "ordering_key": "k" * 1025}],
        [{"attributes": {"k" * 257: "v"}}],
        [{"attributes": {"k": "v" * 1025}}],
        [{"attributes": {str(number): "v" for number in range(101)}}],
    ],
    ids=["bytes", "ordering key", "attribute's key", "attribute's value", "attributes"],
)
def test_a_request_beyond_the_limits_is_refused(helios_emulator, project, messages):
    """Google's emulator has none of these limits."""
    queue = Queue(helios_emulator, project)
    with pytest.raises(InvalidArgument):
        GapicPublisher.publish(queue.publisher, request={"topic": queue.topic, "messages": messages}, timeout=20)


def test_a_message_is_not_lost_when_its_dead_letter_topic_is_deleted(helios_emulator, project):
    """Google's emulator never forwards."""
    dead = Queue(helios_emulator, f"{project}-dead")
    policy = types.DeadLetterPolicy(dead_letter_topic=dead.topic, max_delivery_attempts=5)
    queue = Queue(helios_emulator, project, dead_letter_policy=policy)
    dead.publisher.delete_topic(topic=dead.topic)
    queue.publish(b"precious")
    for _ in range(5):
        queue.nack(*queue.pull_all(1))

    assert payloads(queue.pull_all(1)) == {b"precious": 1}


def test_an_empty_message_is_refused(queue):
    with pytest.raises(InvalidArgument):
        queue.publisher.publish(queue.topic, b"").result(timeout=30)


def test_a_retry_policy_delays_a_failed_message(helios_emulator, project):
    """Google's emulator stores a retry policy and redelivers at once."""
    policy = types.RetryPolicy(minimum_backoff=timedelta(seconds=1), maximum_backoff=timedelta(seconds=2))
    queue = Queue(helios_emulator, project, retry_policy=policy)
    queue.publish(b"1")
    (first,) = queue.pull()
    failed = time.monotonic()
    queue.nack(first)

    assert payloads(queue.pull_all(1)) == {b"1": 1}
    assert time.monotonic() - failed >= 0.8
