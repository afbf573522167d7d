"""An event that Helios replays through a cloud returns as the same event, whatever envelope the cloud uses."""

import json
from datetime import timedelta

import pytest

from helios.adapters.cloudevents import replayed_attributes
from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.replay.eventbridge import EventBridgeTarget
from helios.adapters.replay.eventgrid import _as_sent
from helios.model.events import Delivery
from helios.model.replay import ReplayFilter, ReplayJob, Target
from helios.normalise import normalise
from helios.normalise.replay_marks import PREFIX, is_replay
from helios.reconciliation import declaration
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from tests.fakes.store import MemoryStore
from tests.support import envelopes
from tests.support.deliveries import NOON, eventbridge, eventgrid

LATER = NOON + timedelta(hours=1)
TYPES = {"aws": "OrderPlaced", "gcp": "PaymentProcessed", "azure": "InventoryReserved"}
JOB = ReplayJob(
    id=7,
    what="events",
    filter=ReplayFilter(),
    target=Target(kind="relay"),
    per_second=1,
    actor="ann",
    state="running",
    created_at=LATER,
    matching=1,
)


def pubsub(id_="1"):
    message = envelopes.pubsub_message(id_, attributes={"ce-type": "PaymentProcessed"})
    body = json.dumps(envelopes.pubsub_push(message)).encode()
    return Delivery(channel="pubsub", body=body, received_at=NOON)


def cloudevent(cloud, *, has_time=True):
    event = envelopes.cloudevent(
        source="shop orders/€",
        cloud=cloud,
        type=TYPES[cloud],
        subject="orders/1",
        data={"order_id": "ORD-1", "amount": 10.0},
        **({"time": "2025-11-26T12:00:00.5Z"} if has_time else {}),
    )
    return Delivery(channel="cloudevents", body=json.dumps(event).encode(), received_at=NOON)


def without_topic():
    event = json.loads(eventgrid().body)
    del event["topic"]
    return Delivery(channel="eventgrid", body=json.dumps(event).encode(), received_at=NOON)


def on_eventbridge(event):
    """The replayed event as a bus delivers it: with the bus's own id and a time in whole seconds."""
    target = EventBridgeTarget.__new__(EventBridgeTarget)
    target._bus = "shop"
    entry = target.entry(JOB.id, event)
    body = envelopes.eventbridge_event(
        "of-the-bus",
        detail_type=entry["DetailType"],
        source=entry["Source"],
        time=entry["Time"].strftime("%Y-%m-%dT%H:%M:%SZ"),
        resources=entry["Resources"],
        detail=json.loads(entry["Detail"]),
    )
    return Delivery(channel="eventbridge", body=json.dumps(body).encode(), received_at=LATER)


def in_sns(event):
    message = on_eventbridge(event).body.decode()
    notification = {"Type": "Notification", "TopicArn": "arn:aws:sns:x:1:t", "Message": message}
    return Delivery(channel="eventbridge", body=json.dumps(notification).encode(), received_at=LATER)


def _message(event):
    attributes = {f"ce-{name}": value for name, value in replayed_attributes(event, JOB.id).items()}
    return envelopes.pubsub_message(
        "of-the-topic", bytes(event.data), attributes=attributes, publishTime="2025-11-26T13:00:00Z"
    )


def pushed(event):
    body = json.dumps(envelopes.pubsub_push(_message(event))).encode()
    return Delivery(channel="pubsub", body=body, received_at=LATER)


def pushed_unwrapped(event):
    message = _message(event)
    headers = {
        "x-goog-pubsub-message-id": message["messageId"],
        "x-goog-pubsub-publish-time": message["publishTime"],
        **message["attributes"],
    }
    return Delivery(channel="pubsub", body=bytes(event.data), headers=headers, received_at=LATER)


def in_cloudevent(event):
    body = {
        "specversion": "1.0",
        "id": "of-eventarc",
        "source": "//pubsub.googleapis.com/projects/p/topics/t",
        "type": "google.cloud.pubsub.topic.v1.messagePublished",
        "data": {"message": _message(event)},
    }
    return Delivery(channel="pubsub", body=json.dumps(body).encode(), received_at=LATER)


def on_event_grid(event):
    body = json.dumps(_as_sent(event, JOB.id) | {"topic": "/subscriptions/s"}).encode()
    return Delivery(channel="eventgrid", body=body, received_at=LATER)


def structured(event):
    body = json.dumps(replayed_attributes(event, JOB.id) | {"data": json.loads(bytes(event.data))}).encode()
    return Delivery(channel="cloudevents", body=body, received_at=LATER)


def binary(event):
    headers = {f"ce-{name}": value for name, value in replayed_attributes(event, JOB.id).items()}
    return Delivery(channel="cloudevents", body=bytes(event.data), headers=headers, received_at=LATER)


ROUND_TRIPS = [
    (eventbridge(), on_eventbridge),
    (eventbridge(), in_sns),
    (eventbridge(), structured),
    (cloudevent("aws"), structured),
    (cloudevent("aws"), binary),
    (without_topic(), binary),
    (without_topic(), structured),
    (without_topic(), on_event_grid),
    (cloudevent("aws"), on_eventbridge),
    (cloudevent("aws", has_time=False), on_eventbridge),
    (pubsub(), pushed),
    (pubsub(), pushed_unwrapped),
    (pubsub(), in_cloudevent),
    (cloudevent("gcp"), pushed),
    (eventgrid(), on_event_grid),
    (eventgrid(), binary),
    (cloudevent("azure"), on_event_grid),
    (cloudevent("azure", has_time=False), structured),
    (cloudevent("azure", has_time=False), on_event_grid),
]


@pytest.mark.parametrize(("delivered", "back"), ROUND_TRIPS)
def test_a_replay_that_returns_is_a_duplicate_and_changes_no_verdict(delivered, back):
    store, reconciler = MemoryStore(), Reconciler(declaration.load())
    (first,) = ingest([delivered], dedupe=NullDedupeCache(), store=store, reconciler=reconciler)
    instance = store.flow(("order", "ORD-1"))

    (replayed,) = ingest([back(first.event)], dedupe=NullDedupeCache(), store=store, reconciler=reconciler)

    assert (replayed.status, replayed.event and replayed.event.key) == ("duplicate", first.event and first.event.key)
    assert store.totals(LATER).duplicate == 1
    assert instance is not None
    assert store.flow(("order", "ORD-1")) == instance


@pytest.mark.parametrize(("delivered", "back"), ROUND_TRIPS)
def test_a_replay_from_another_helios_is_stored_with_its_original_id(delivered, back):
    event = normalise(delivered)
    store, reconciler = MemoryStore(), Reconciler(declaration.load())

    (outcome,) = ingest([back(event)], dedupe=NullDedupeCache(), store=store, reconciler=reconciler)

    assert (outcome.status, outcome.event and outcome.event.key) == ("stored", event.key)
    assert store.flow(("order", "ORD-1")) is not None


def test_a_replay_mark_does_not_hide_changed_content():
    store = MemoryStore()
    (first,) = ingest([eventbridge()], dedupe=NullDedupeCache(), store=store)
    forged = json.loads(on_eventbridge(first.event).body)
    forged["detail"]["amount"] = 99

    body = json.dumps(forged).encode()
    (outcome,) = ingest(
        [Delivery(channel="eventbridge", body=body, received_at=LATER)], dedupe=NullDedupeCache(), store=store
    )

    assert (outcome.status, store.totals(LATER).contradictory) == ("contradictory", 1)


def test_a_real_duplicate_beside_a_replay_is_still_an_issue_of_its_flow_instance():
    store, reconciler = MemoryStore(), Reconciler(declaration.load())
    (first,) = ingest([eventbridge()], dedupe=NullDedupeCache(), store=store, reconciler=reconciler)

    ingest([on_eventbridge(first.event), eventbridge()], dedupe=NullDedupeCache(), store=store, reconciler=reconciler)

    instance = store.flow(("order", "ORD-1"))
    assert instance is not None
    assert "duplicate" in instance.issues


def test_an_unreadable_replay_mark_makes_a_dead_letter():
    event = json.loads(eventbridge().body) | {"resources": [PREFIX + "{"]}
    delivery = Delivery(channel="eventbridge", body=json.dumps(event).encode(), received_at=LATER)

    (outcome,) = ingest([delivery], dedupe=NullDedupeCache(), store=MemoryStore())

    assert (outcome.status, outcome.field) == ("rejected", "resources")


def test_an_event_that_only_mentions_replays_is_stored_as_new():
    event = json.loads(eventbridge(detail={"heliosreplay": "7"}).body) | {"resources": [1]}
    delivery = Delivery(channel="eventbridge", body=json.dumps(event).encode(), received_at=LATER)

    (outcome,) = ingest([delivery], dedupe=NullDedupeCache(), store=MemoryStore())

    assert outcome.status == "stored"


DEEP = '{"data": ' * 5000 + '"heliosreplay"' + "}" * 5000


@pytest.mark.parametrize("text", ['{"heliosreplay"', DEEP, '"heliosreplay"', '{"resources": ["heliosreplay"]}'])
def test_a_body_that_only_mentions_replays_is_no_replay(text):
    assert not is_replay(Delivery(channel="cloudevents", body=text.encode(), received_at=NOON))
