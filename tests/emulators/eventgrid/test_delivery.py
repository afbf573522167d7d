"""Batches, the retry schedule, dead-lettering and headers, against a real endpoint."""

import re
import threading
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from local.emulators.eventgrid import client
from local.emulators.eventgrid.client import SetupFailed
from tests.emulators.eventgrid.emulated import BLOB, Emulated
from tests.emulators.eventgrid.events import cloud_event, grid_event
from tests.emulators.eventgrid.receiver import Answer, Receiver, in_turn
from tests.support.waiting import eventually


def test_by_default_each_delivery_has_one_event(grid: Emulated, receiver: Receiver):
    topic = grid.topic()
    grid.subscribe(topic, receiver.url)
    grid.publish(topic, *(grid_event(str(number)) for number in range(20)))
    receiver.wait_ids(20)
    assert {len(delivery.json) for delivery in receiver.notifications} == {1}


def test_a_batch_has_no_more_events_than_configured(grid: Emulated, receiver: Receiver):
    topic = grid.topic()
    grid.subscribe(topic, receiver.url, webhook={"maxEventsPerBatch": 10})
    grid.publish(topic, *(grid_event(str(number)) for number in range(35)))
    receiver.wait_ids(35)
    assert sorted(len(delivery.json) for delivery in receiver.notifications) == [5, 10, 10, 10]


def test_a_batch_stays_below_the_preferred_size(grid: Emulated, receiver: Receiver):
    """An event larger than the preferred size is a batch of its own."""
    topic = grid.topic()
    grid.subscribe(topic, receiver.url, webhook={"maxEventsPerBatch": 100, "preferredBatchSizeInKilobytes": 4})
    small = [grid_event(str(number), data="x" * 1000) for number in range(6)]
    grid.publish(topic, grid_event("large", data="x" * 9000), *small)
    receiver.wait_ids(7)
    assert all(len(delivery.body) <= 4200 for delivery in receiver.notifications if len(delivery.json) > 1)
    assert ["large"] in [[event["id"] for event in delivery.json] for delivery in receiver.notifications]


def test_a_cloud_events_batch_has_its_content_type(grid: Emulated, receiver: Receiver):
    topic = grid.topic("CloudEventSchemaV1_0")
    grid.subscribe(topic, receiver.url, webhook={"maxEventsPerBatch": 10})
    grid.publish(topic, cloud_event("1"), cloud_event("2"))
    (delivery,) = receiver.wait(1)
    assert [event["id"] for event in delivery.json] == ["1", "2"]
    assert delivery.headers["content-type"] == "application/cloudevents-batch+json; charset=utf-8"


@pytest.mark.parametrize("status", [200, 201, 202, 203, 204])
def test_a_status_of_success_acknowledges(grid: Emulated, receiver: Receiver, status: int):
    receiver.notification = lambda _request: Answer(status)
    topic = grid.topic()
    grid.subscribe(topic, receiver.url)
    grid.publish(topic, grid_event())
    counts = grid.wait_counts(topic, lambda counts: counts["delivered"] == 1)
    assert (counts["attempts"], counts["pending"]) == (1, 0)


@pytest.mark.parametrize("status", [205, 302, 404, 408, 409, 429, 500, 503])
def test_any_other_status_is_retried(grid: Emulated, receiver: Receiver, status: int):
    receiver.notification = in_turn(status)
    topic = grid.topic()
    grid.subscribe(topic, receiver.url)
    grid.publish(topic, grid_event())
    deliveries = receiver.wait(2)
    assert [delivery.headers["aeg-delivery-count"] for delivery in deliveries] == ["0", "1"]
    assert deliveries[0].body == deliveries[1].body


def test_the_delay_grows_with_each_retry(grid: Emulated, receiver: Receiver):
    """The delays are at least 10, 30 and 60 s, divided by 1000."""
    receiver.notification = in_turn(500, 500, 500)
    topic = grid.topic()
    grid.subscribe(topic, receiver.url)
    grid.publish(topic, grid_event())
    times = [delivery.at for delivery in receiver.wait(4)]
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert [wait >= least for wait, least in zip(waits, (0.010, 0.030, 0.060), strict=True)] == [True] * 3


@pytest.mark.parametrize(
    ("status", "outcome"), [(400, "BadRequest"), (401, "Unauthorized"), (403, "Forbidden"), (413, "PayloadTooLarge")]
)
def test_a_permanent_failure_is_dead_lettered_without_a_retry(
    grid: Emulated, receiver: Receiver, status: int, outcome: str
):
    receiver.notification = lambda _request: Answer(status)
    topic = grid.topic()
    container = f"dead-{status}"
    blob = {"endpointType": "StorageBlob", "properties": {"blobContainerName": container}}
    grid.subscribe(topic, receiver.url, deadLetterDestination=blob)
    grid.publish(topic, grid_event())
    counts = grid.wait_counts(topic, lambda counts: counts["deadLettered"] == 1)
    (dead_letter,) = grid.dead_letters(container)
    assert (counts["attempts"], dead_letter["lastDeliveryOutcome"]) == (1, outcome)


def test_a_dead_letter_has_the_path_and_fields_that_the_vendor_documents(grid: Emulated, receiver: Receiver):
    receiver.notification = lambda _request: Answer(404)
    topic = grid.topic()
    grid.subscribe(
        topic,
        receiver.url,
        "path-and-fields",
        deadLetterDestination=BLOB,
        retryPolicy={"maxDeliveryAttempts": 3, "eventTimeToLiveInMinutes": 1440},
    )
    grid.publish(topic, grid_event("dead"))
    (delivered,) = {delivery.body for delivery in receiver.wait(3)}
    container = grid.folder / "data" / "dead-letters" / "dead"
    grid.wait_counts(topic, lambda counts: counts["deadLettered"] == 1, "path-and-fields")
    (file,) = (container / "PATH-AND-FIELDS").rglob("*.json")
    (dead_letter,) = [delivery for delivery in grid.dead_letters() if delivery["id"] == "dead"]
    assert re.fullmatch(
        r"PATH-AND-FIELDS/\d{4}/\d{1,2}/\d{1,2}/\d{1,2}/[0-9a-f-]{36}\.json", str(file.relative_to(container))
    )
    assert (dead_letter["deadLetterReason"], dead_letter["deliveryAttempts"], dead_letter["lastDeliveryOutcome"]) == (
        "MaxDeliveryAttemptsExceeded",
        3,
        "NotFound",
    )
    assert dead_letter["publishTime"] < dead_letter["lastDeliveryAttemptTime"]
    assert b'"id":"dead"' in delivered


def test_a_dead_letter_of_a_cloud_event_has_lower_case_names(grid: Emulated, receiver: Receiver):
    receiver.notification = lambda _request: Answer(400)
    blob = {"endpointType": "StorageBlob", "properties": {"blobContainerName": "lower-case"}}
    topic = grid.topic("CloudEventSchemaV1_0")
    grid.subscribe(topic, receiver.url, deadLetterDestination=blob)
    grid.publish(topic, cloud_event())
    grid.wait_counts(topic, lambda counts: counts["deadLettered"] == 1)
    (dead_letter,) = grid.dead_letters("lower-case")
    names = {"deadletterreason", "deliveryattempts", "lastdeliveryoutcome", "publishtime", "lastdeliveryattempttime"}
    assert names <= dead_letter.keys()


def test_an_event_past_its_time_to_live_is_dead_lettered_when_its_retry_is_due(grid: Emulated, receiver: Receiver):
    """The time to live, one minute (here 60 ms), ends between the third attempt and the fourth."""
    receiver.notification = lambda _request: Answer(500)
    blob = {"endpointType": "StorageBlob", "properties": {"blobContainerName": "too-old"}}
    topic = grid.topic()
    grid.subscribe(topic, receiver.url, deadLetterDestination=blob, retryPolicy={"eventTimeToLiveInMinutes": 1})
    grid.publish(topic, grid_event())
    counts = grid.wait_counts(topic, lambda counts: counts["deadLettered"] == 1)
    (dead_letter,) = grid.dead_letters("too-old")
    assert dead_letter["deadLetterReason"] == "TimeToLiveExceeded"
    assert counts["attempts"] <= 3


def test_without_a_dead_letter_destination_an_event_is_dropped_and_counted(grid: Emulated, receiver: Receiver):
    receiver.notification = lambda _request: Answer(400)
    topic = grid.topic()
    grid.subscribe(topic, receiver.url)
    grid.publish(topic, grid_event())
    counts = grid.wait_counts(topic, lambda counts: counts["dropped"] == 1)
    assert counts["pending"] == 0


def test_a_failing_event_does_not_delay_the_others(grid: Emulated, receiver: Receiver):
    receiver.notification = lambda request: Answer(500 if request.json[0]["id"] == "poison" else 200)
    topic = grid.topic()
    grid.subscribe(topic, receiver.url)
    grid.publish(topic, grid_event("poison"), *(grid_event(str(number)) for number in range(50)))
    counts = grid.wait_counts(topic, lambda counts: counts["delivered"] == 50)
    assert counts["pending"] == 1


def test_a_redirect_is_not_followed(grid: Emulated, receiver: Receiver):
    receiver.notification = lambda _request: Answer(307, {"location": "/elsewhere"})
    topic = grid.topic()
    grid.subscribe(topic, receiver.url, retryPolicy={"maxDeliveryAttempts": 1})
    grid.publish(topic, grid_event())
    grid.wait_counts(topic, lambda counts: counts["dropped"] == 1)
    assert {delivery.path for delivery in receiver.notifications} == {"/events"}


def test_an_endpoint_that_recovers_acknowledges_every_event_once(grid: Emulated):
    with Receiver() as receiver:
        topic, every = grid.topic(), {str(number) for number in range(30)}
        grid.subscribe(topic, receiver.url, webhook={"maxEventsPerBatch": 5})
        recovered = threading.Event()
        receiver.notification = lambda _request: Answer(200 if recovered.is_set() else 503)
        grid.publish(topic, *map(grid_event, every))
        eventually(lambda: {event["id"] for each in receiver.notifications for event in each.json} == every)
        recovered.set()
        grid.wait_counts(topic, lambda counts: counts["delivered"] == 30)
        acknowledged = [
            delivery for delivery in receiver.notifications if delivery.headers["aeg-delivery-count"] != "0"
        ]
        assert {event["id"] for delivery in acknowledged for event in delivery.json} == every


def test_the_counts_add_up_to_the_matched_events(grid: Emulated, receiver: Receiver):
    """Every matched event is delivered, dead-lettered, dropped or pending."""
    receiver.notification = lambda request: Answer({"0": 200, "1": 400, "2": 500}[request.json[0]["id"][-1]])
    topic = grid.topic()
    grid.subscribe(topic, receiver.url, retryPolicy={"maxDeliveryAttempts": 2})
    grid.publish(topic, *(grid_event(f"{number}-{number % 3}") for number in range(60)))
    counts = grid.wait_counts(topic, lambda counts: counts["pending"] == 0)
    assert (counts["matched"], counts["delivered"], counts["dropped"]) == (60, 20, 40)
    assert Counter(delivery.json[0]["id"][-1] for delivery in receiver.notifications) == {"0": 20, "1": 20, "2": 40}


SECRET = "s3cret-value"  # pragma: allowlist secret
MAPPINGS = [
    {"name": "X-Static", "type": "Static", "properties": {"value": "plain", "isSecret": False}},
    {"name": "Authorization", "type": "Static", "properties": {"value": SECRET, "isSecret": True}},
    {"name": "X-Order", "type": "Dynamic", "properties": {"sourceField": "data.order_id"}},
    {"name": "X-Missing", "type": "Dynamic", "properties": {"sourceField": "data.nothing"}},
]


def test_custom_headers_are_delivered(grid: Emulated, receiver: Receiver):
    topic = grid.topic()
    grid.subscribe(topic, receiver.url, webhook={"deliveryAttributeMappings": MAPPINGS})
    grid.publish(topic, grid_event())
    (delivery,) = receiver.wait(1)
    headers = delivery.headers
    assert (headers["x-static"], headers["authorization"], headers["x-order"]) == ("plain", SECRET, "ORD-1")
    assert "x-missing" not in headers


def test_a_value_that_is_not_valid_in_a_header_is_omitted(grid: Emulated, receiver: Receiver):
    topic = grid.topic()
    grid.subscribe(topic, receiver.url, webhook={"deliveryAttributeMappings": MAPPINGS})
    grid.publish(topic, grid_event(data={"order_id": "a\r\nX-Injected: b"}))
    (delivery,) = receiver.wait(1)
    assert not {"x-order", "x-injected"} & delivery.headers.keys()


def test_secrets_are_neither_returned_nor_logged(grid: Emulated, receiver: Receiver):
    topic = grid.topic()
    grid.subscribe(topic, f"{receiver.url}?code={SECRET}", webhook={"deliveryAttributeMappings": MAPPINGS})
    grid.publish(topic, grid_event())
    receiver.wait(1)
    shown = str([grid.subscription(topic), client.call(grid.url, "GET", "/status"), grid.log.read_text()])
    assert SECRET not in shown
    assert grid.subscription(topic)["properties"]["destination"]["properties"]["endpointBaseUrl"] == receiver.url


def test_a_mapping_of_a_header_of_event_grid_is_refused(grid: Emulated, receiver: Receiver):
    mapping = {"name": "aeg-event-type", "type": "Static", "properties": {"value": "x"}}
    with pytest.raises(SetupFailed):
        grid.subscribe(grid.topic(), receiver.url, webhook={"deliveryAttributeMappings": [mapping]})


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Emulated]:
    """An emulator that waits only three seconds for a response."""
    emulated = Emulated(tmp_path, "--response-seconds", "3")
    emulated.start()
    yield emulated
    emulated.process.stop()


def test_a_response_that_is_too_late_is_a_failed_attempt(impatient: Emulated, receiver: Receiver):
    released = threading.Event()

    def slow_once(_request: object) -> Answer:
        released.wait(20)
        return Answer()

    topic = impatient.topic()
    impatient.subscribe(topic, receiver.url, retryPolicy={"maxDeliveryAttempts": 1}, deadLetterDestination=BLOB)
    receiver.notification = slow_once
    impatient.publish(topic, grid_event())
    impatient.wait_counts(topic, lambda counts: counts["deadLettered"] == 1)
    released.set()
    (dead_letter,) = impatient.dead_letters()
    assert dead_letter["lastDeliveryOutcome"] == "TimedOut"
