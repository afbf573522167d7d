"""Topics with a schema of their own: Azure's "Map custom fields to Event Grid schema"."""

from datetime import UTC, datetime, timedelta

import pytest
from azure.core.exceptions import HttpResponseError

from local.emulators.eventgrid import client
from tests.emulators.eventgrid.emulated import BLOB, Emulated
from tests.emulators.eventgrid.receiver import Answer, Receiver

FIELDS = {
    "id": {"sourceField": "number"},
    "eventTime": {"sourceField": "at"},
    "eventType": {"sourceField": "kind", "defaultValue": "Unknown"},
    "subject": {"defaultValue": "orders"},
    "dataVersion": {"defaultValue": "1.0"},
}
ORDER = {"number": "7", "at": "2025-11-26T12:00:00Z", "kind": "OrderPlaced", "amount": 10.50}


def custom_topic(grid: Emulated, fields=FIELDS) -> str:
    mapping = {"inputSchemaMappingType": "Json", "properties": fields}
    return grid.topic("CustomEventSchema", inputSchemaMapping=mapping)


def delivered(grid: Emulated, topic: str, receiver: Receiver, event, **properties):
    """The body of the delivery of one published event."""
    grid.subscribe(topic, receiver.url, **properties)
    grid.publish(topic, event)
    (delivery,) = receiver.wait(1)
    return delivery.json


def test_the_mapped_fields_are_those_of_the_delivered_event(grid: Emulated, receiver: Receiver):
    (event,) = delivered(grid, custom_topic(grid), receiver, ORDER)
    assert event.pop("topic").endswith("/topics/" + grid_topic_name(grid))
    assert event == {
        "id": "7",
        "eventTime": "2025-11-26T12:00:00Z",
        "eventType": "OrderPlaced",
        "subject": "orders",
        "dataVersion": "1.0",
        "metadataVersion": "1",
        "data": ORDER,
    }


def grid_topic_name(grid: Emulated) -> str:
    """The topic of the last test."""
    names = [topic["name"] for topic in client.call(grid.url, "GET", "/topics")["value"]]
    return max(names, key=lambda name: int(name.rpartition("-")[2]))


def test_a_field_that_the_event_lacks_has_its_default(grid: Emulated, receiver: Receiver):
    (event,) = delivered(grid, custom_topic(grid), receiver, {"number": "7", "at": ORDER["at"]})
    assert event["eventType"] == "Unknown"


def test_event_grid_sets_the_id_and_the_time_that_are_not_mapped(grid: Emulated, receiver: Receiver):
    fields = {name: FIELDS[name] for name in ("eventType", "subject", "dataVersion")}
    (event,) = delivered(grid, custom_topic(grid, fields), receiver, ORDER)
    assert len(event["id"]) == 36
    assert datetime.now(UTC) - datetime.fromisoformat(event["eventTime"]) < timedelta(minutes=1)


def test_a_field_without_a_mapping_has_its_own_name(grid: Emulated, receiver: Receiver):
    event = {"eventType": "OrderPlaced", "subject": "orders/7"}
    (event,) = delivered(grid, custom_topic(grid, {}), receiver, event)
    assert (event["eventType"], event["subject"]) == ("OrderPlaced", "orders/7")


def test_the_event_is_delivered_as_it_was_published_on_request(grid: Emulated, receiver: Receiver):
    body = delivered(grid, custom_topic(grid), receiver, ORDER, eventDeliverySchema="CustomInputSchema")
    assert body == [ORDER]


def test_the_event_is_delivered_as_a_cloud_event_on_request(grid: Emulated, receiver: Receiver):
    body = delivered(grid, custom_topic(grid), receiver, ORDER, eventDeliverySchema="CloudEventSchemaV1_0")
    assert (body["id"], body["type"], body["time"], body["data"]) == ("7", "OrderPlaced", ORDER["at"], ORDER)


def test_a_filter_reads_the_mapped_fields_and_the_data(grid: Emulated, receiver: Receiver):
    topic = custom_topic(grid)
    dear = {"operatorType": "NumberGreaterThan", "key": "data.amount", "value": 20}
    grid.subscribe(topic, receiver.url, filter={"includedEventTypes": ["OrderPlaced"], "advancedFilters": [dear]})
    grid.publish(topic, ORDER, ORDER | {"number": "8", "amount": 30}, ORDER | {"kind": "X", "amount": 30})
    assert receiver.wait_ids(1) == ["8"]


def test_an_undeliverable_event_is_stored_as_it_was_published(tmp_path, receiver: Receiver):
    receiver.notification = lambda _request: Answer(400)
    grid = Emulated(tmp_path)
    grid.start()
    topic = custom_topic(grid)
    grid.subscribe(topic, receiver.url, eventDeliverySchema="CustomInputSchema", deadLetterDestination=BLOB)
    grid.publish(topic, ORDER)
    grid.wait_counts(topic, lambda counts: counts["deadLettered"] == 1)
    grid.process.stop()
    (dead_letter,) = grid.dead_letters()
    assert (dead_letter["customEvent"], dead_letter["deliveryAttempts"]) == (ORDER, 1)


def test_the_mapping_survives_kill_9(tmp_path, receiver: Receiver):
    grid = Emulated(tmp_path)
    grid.start()
    topic = custom_topic(grid)
    shown = client.call(grid.url, "GET", f"/topics/{topic}")["properties"]
    grid.subscribe(topic, receiver.url)
    grid.process.kill()
    grid.start()
    grid.publish(topic, ORDER)
    assert receiver.wait_ids(1) == ["7"]
    assert client.call(grid.url, "GET", f"/topics/{topic}")["properties"] == shown
    assert shown["inputSchemaMapping"]["properties"]["eventType"] == FIELDS["eventType"]
    grid.process.stop()


@pytest.mark.parametrize(
    "event",
    [
        ORDER | {"number": 7},
        ORDER | {"number": ""},
        ORDER | {"at": "yesterday"},
        ORDER | {"kind": ["a", "list"]},
    ],
)
def test_an_event_whose_mapped_field_is_invalid_is_refused(grid: Emulated, event):
    with pytest.raises(HttpResponseError, match="configured for 'CustomEvent' schema") as caught:
        grid.publish(custom_topic(grid), event)
    assert caught.value.status_code == 400


def json_mapping(**fields):
    return {"inputSchemaMapping": {"inputSchemaMappingType": "Json", "properties": fields}}


@pytest.mark.parametrize(
    ("schema", "properties", "reason"),
    [
        ("CustomEventSchema", {}, "inputSchemaMapping belongs to the inputSchema CustomEventSchema"),
        ("EventGridSchema", json_mapping(), "inputSchemaMapping belongs to the inputSchema CustomEventSchema"),
        ("CustomEventSchema", {"inputSchemaMapping": {"inputSchemaMappingType": "Xml"}}, "Invalid value 'Xml'"),
        ("CustomEventSchema", json_mapping(subject={}), "sourceField or defaultValue is required"),
        ("CustomEventSchema", json_mapping(id={"defaultValue": "1"}), "unknown field `defaultValue`"),
    ],
)
def test_an_invalid_mapping_is_refused(grid: Emulated, schema: str, properties, reason: str):
    with pytest.raises(client.SetupFailed, match=reason):
        grid.topic(schema, **properties)


def test_events_of_another_schema_can_not_be_delivered_as_custom_events(grid: Emulated, receiver: Receiver):
    with pytest.raises(client.SetupFailed, match="CustomInputSchema"):
        grid.subscribe(grid.topic(), receiver.url, eventDeliverySchema="CustomInputSchema")
