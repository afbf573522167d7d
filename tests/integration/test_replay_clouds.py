"""Stored events are sent to a cloud's topic through the vendor's library, and Helios ingests them again."""

import json

import boto3
import pytest
from google.cloud import pubsub_v1
from moto import mock_aws

from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.replay.registry import ConfiguredTargets
from helios.errors import TargetUnavailable
from helios.model.events import Delivery
from helios.model.replay import SENT, ReplayFilter, ReplayJob, Target
from helios.services.ingest import ingest
from helios.settings import Settings
from tests.emulators.eventgrid.emulated import KEY, Emulated
from tests.emulators.eventgrid.receiver import Receiver as GridReceiver
from tests.emulators.pubsub.emulators import Helios
from tests.fakes.store import MemoryStore
from tests.support import envelopes
from tests.support.deliveries import NOON, eventbridge, eventgrid
from tests.support.receiver import receiving
from tests.support.waiting import eventually

COUNT = 12
"""More than the ten entries of one PutEvents call."""


def job_of(cloud) -> ReplayJob:
    return ReplayJob(
        id=7,
        what="events",
        filter=ReplayFilter(source=cloud),
        target=Target(kind="cloud", cloud=cloud),
        per_second=1000,
        actor="ann",
        state="running",
        created_at=NOON,
        matching=COUNT,
    )


def opened(cloud, topic, **settings):
    configured = Settings(database_url="postgresql://nowhere", replay_topics=f"{cloud}={topic}", **settings)
    return ConfiguredTargets(configured).open(Target(kind="cloud", cloud=cloud))


def stored(deliveries):
    """A store with these deliveries, and its events."""
    store = MemoryStore()
    outcomes = ingest(deliveries, dedupe=NullDedupeCache(), store=store)
    assert [outcome.status for outcome in outcomes] == ["stored"] * COUNT
    return store, [outcome.event for outcome in outcomes if outcome.event]


def sent(target, cloud, events):
    results = []
    for start in range(0, len(events), target.batch):
        results += target.send(job_of(cloud), events[start : start + target.batch])
    target.close()
    return results


def assert_all_come_back(store, channel, bodies):
    """Each body is ingested as a duplicate of its stored event."""
    deliveries = [Delivery(channel=channel, body=body, received_at=NOON) for body in bodies]
    outcomes = ingest(deliveries, dedupe=NullDedupeCache(), store=store)
    assert {(outcome.status, outcome.reason) for outcome in outcomes} == {("duplicate", None)}
    assert {outcome.event.id for outcome in outcomes if outcome.event} == {str(number) for number in range(COUNT)}


def pubsub(number: int) -> Delivery:
    attributes = {"ce-type": "PaymentProcessed", "ce-subject": "zażółć"}
    message = envelopes.pubsub_message(str(number), attributes=attributes)
    body = json.dumps(envelopes.pubsub_push(message)).encode()
    return Delivery(channel="pubsub", body=body, received_at=NOON)


def test_events_replayed_to_pub_sub_come_back_as_duplicates(tmp_path, monkeypatch):
    emulator = Helios(tmp_path)
    emulator.start()
    try:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{emulator.port}")
        topic, subscription = "projects/shop/topics/events", "projects/shop/subscriptions/helios"
        with receiving() as endpoint:
            emulator.publisher().create_topic(name=topic)
            push = pubsub_v1.types.PushConfig(push_endpoint=endpoint.url)
            emulator.subscriber().create_subscription(name=subscription, topic=topic, push_config=push)
            store, events = stored([pubsub(number) for number in range(COUNT)])

            assert sent(opened("gcp", topic), "gcp", events) == [SENT] * COUNT

            eventually(lambda: len(endpoint.requests) >= COUNT)
            assert_all_come_back(store, "pubsub", [body for _, _, body in endpoint.requests])

        missing = sent(opened("gcp", "projects/shop/topics/none"), "gcp", events[:1])
        assert (missing[0].state, "gcp/0: Pub/Sub: 404" in missing[0].reason) == ("failed", True)
    finally:
        emulator.close()
    with pytest.raises(TargetUnavailable, match="Pub/Sub"):
        sent(opened("gcp", topic), "gcp", events[:1])


def test_events_replayed_to_event_grid_come_back_as_duplicates(tmp_path):
    grid = Emulated(tmp_path)
    grid.start()
    try:
        topic = grid.topic()
        with GridReceiver() as endpoint:
            grid.subscribe(topic, endpoint.url)
            store, events = stored([eventgrid(str(number)) for number in range(COUNT)])
            settings = {"replay_eventgrid_secret": KEY}

            assert sent(opened("azure", grid.endpoint(topic), **settings), "azure", events) == [SENT] * COUNT

            grid.wait_counts(topic, lambda counts: counts["delivered"] == COUNT)
            bodies = [
                json.dumps(event).encode() for notification in endpoint.notifications for event in notification.json
            ]
            assert_all_come_back(store, "eventgrid", bodies)

        other = opened("azure", grid.endpoint(topic), replay_eventgrid_secret="d3Jvbmc=")
        (refused, _) = sent(other, "azure", events[:2])
        assert (refused.state, "azure/0: Event Grid answers 401" in refused.reason) == ("failed", True)
    finally:
        grid.process.stop()
    with pytest.raises(TargetUnavailable, match="Event Grid"):
        sent(opened("azure", grid.endpoint(topic), **settings), "azure", events[:1])


def test_events_replayed_to_eventbridge_come_back_as_duplicates(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        bus, queues = boto3.client("events"), boto3.client("sqs")
        queue = queues.create_queue(QueueName="q")["QueueUrl"]
        arn = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        bus.create_event_bus(Name="shop")
        bus.put_rule(Name="all", EventBusName="shop", EventPattern='{"source": ["shop.orders"]}')
        bus.put_targets(Rule="all", EventBusName="shop", Targets=[{"Id": "q", "Arn": arn}])
        store, events = stored([eventbridge(str(number)) for number in range(COUNT)])

        assert sent(opened("aws", "shop"), "aws", events) == [SENT] * COUNT

        bodies: list[bytes] = []
        while messages := queues.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
            bodies += [message["Body"].encode() for message in messages]
        assert_all_come_back(store, "eventbridge", bodies)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(TargetUnavailable, match="EventBridge"):
        sent(opened("aws", "shop"), "aws", events[:1])
