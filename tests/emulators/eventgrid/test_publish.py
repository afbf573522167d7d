"""The vendor's client publishes in both schemas: valid events arrive, and invalid ones get the vendor's errors."""

import base64
import hashlib
import hmac
import http.client
import json
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from azure.core.credentials import AzureKeyCredential, AzureSasCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.eventgrid import EventGridPublisherClient, generate_sas

from tests.emulators.eventgrid.emulated import KEY, Emulated
from tests.emulators.eventgrid.events import cloud_event, grid_event
from tests.emulators.eventgrid.receiver import Receiver

GOOD = {"id": "1", "subject": "s", "eventType": "t", "eventTime": "2025-11-26T12:00:00Z", "data": {}, "dataVersion": ""}
GOOD_CLOUD = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}


def without(event: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key != name}


def post(
    grid: Emulated, topic: str, body: bytes, content_type: str = "application/json", **headers: str
) -> tuple[int, Any]:
    """The answer to a request that the vendor's client can't send."""
    connection = http.client.HTTPConnection("127.0.0.1", grid.port, timeout=20)
    connection.request(
        "POST", f"/topics/{topic}/api/events", body, {"aeg-sas-key": KEY, "content-type": content_type, **headers}
    )
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, json.loads(content) if content else None


def test_an_event_is_delivered_as_it_was_published(grid: Emulated, receiver: Receiver):
    """Event Grid adds the topic and the metadata version, and changes nothing else."""
    topic = grid.topic()
    grid.subscribe(topic, receiver.url)
    grid.publish(topic, grid_event())
    (delivery,) = receiver.wait(1)
    assert delivery.json == [
        {
            "id": "1",
            "eventType": "InventoryReserved",
            "subject": "orders/1",
            "data": {"order_id": "ORD-1", "quantity": 2},
            "dataVersion": "1.0",
            "eventTime": "2025-11-26T12:00:00.000Z",
            "topic": f"/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/local"
            f"/providers/Microsoft.EventGrid/topics/{topic}",
            "metadataVersion": "1",
        }
    ]
    assert delivery.headers["content-type"] == "application/json; charset=utf-8"


def test_a_delivery_has_the_headers_of_event_grid(grid: Emulated, receiver: Receiver):
    topic = grid.topic()
    grid.subscribe(topic, receiver.url, "my-subscription")
    grid.publish(topic, grid_event())
    (delivery,) = receiver.wait(1)
    assert {name: value for name, value in delivery.headers.items() if name.startswith("aeg-")} == {
        "aeg-event-type": "Notification",
        "aeg-subscription-name": "MY-SUBSCRIPTION",
        "aeg-delivery-count": "0",
        "aeg-metadata-version": "1",
        "aeg-data-version": "1.0",
    }


def test_a_cloud_event_is_delivered_as_it_was_published(grid: Emulated, receiver: Receiver):
    topic = grid.topic("CloudEventSchemaV1_0")
    grid.subscribe(topic, receiver.url)
    grid.publish(topic, cloud_event())
    (delivery,) = receiver.wait(1)
    assert delivery.json == {
        "specversion": "1.0",
        "id": "1",
        "source": "/shop/inventory",
        "type": "InventoryReserved",
        "subject": "orders/1",
        "time": "2025-11-26T12:00:00.000Z",
        "data": {"order_id": "ORD-1", "quantity": 2},
        "traceid": "abc",
    }
    assert delivery.headers["content-type"] == "application/cloudevents+json; charset=utf-8"


def test_a_single_structured_cloud_event_is_accepted(grid: Emulated, receiver: Receiver):
    topic = grid.topic("CloudEventSchemaV1_0")
    grid.subscribe(topic, receiver.url)
    status, _ = post(grid, topic, json.dumps(GOOD_CLOUD).encode(), "application/cloudevents+json")
    assert (status, receiver.wait_ids(1)) == (200, ["1"])


def test_an_event_grid_topic_delivers_cloud_events_on_request(grid: Emulated, receiver: Receiver):
    topic = grid.topic()
    grid.subscribe(topic, receiver.url, eventDeliverySchema="CloudEventSchemaV1_0")
    grid.publish(topic, grid_event())
    (delivery,) = receiver.wait(1)
    assert delivery.json == {
        "specversion": "1.0",
        "id": "1",
        "source": f"/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/local"
        f"/providers/Microsoft.EventGrid/topics/{topic}",
        "type": "InventoryReserved",
        "subject": "orders/1",
        "time": "2025-11-26T12:00:00.000Z",
        "data": {"order_id": "ORD-1", "quantity": 2},
    }


def test_the_payload_is_delivered_byte_for_byte(grid: Emulated, receiver: Receiver):
    topic = grid.topic()
    grid.subscribe(topic, receiver.url)
    data = b'{"z": 10.00, "a":12345678901234567890123, "text": "\\u00e9 \xc3\xa9"}'
    event = json.dumps(without(GOOD, "data")).encode()
    assert post(grid, topic, b"[" + event[:-1] + b', "data": ' + data + b"}]") == (200, None)
    (delivery,) = receiver.wait(1)
    assert data in delivery.body


def test_a_dictionary_and_a_list_of_events_are_accepted(grid: Emulated, receiver: Receiver):
    topic = grid.topic()
    grid.subscribe(topic, receiver.url)
    with grid.publisher(topic) as publisher:
        publisher.send(GOOD)
        publisher.send([grid_event("2"), grid_event("3")])
    assert sorted(receiver.wait_ids(3)) == ["1", "2", "3"]


def test_every_subscription_gets_its_copy(grid: Emulated, receiver: Receiver):
    topic = grid.topic()
    with Receiver() as other:
        grid.subscribe(topic, receiver.url, "first")
        grid.subscribe(topic, other.url, "second")
        grid.publish(topic, grid_event())
        assert (receiver.wait_ids(1), other.wait_ids(1)) == (["1"], ["1"])


def test_a_wrong_key_is_refused_with_401(grid: Emulated):
    topic = grid.topic()
    with (
        grid.publisher(topic, "d3Jvbmc=") as publisher,
        pytest.raises(ClientAuthenticationError, match="The request authorization key is not authorized for"),
    ):
        publisher.send(grid_event())


def test_a_missing_key_is_refused_with_the_vendor_s_error(grid: Emulated):
    message = "Request must contain one of the following authorization signature: aeg-sas-token, aeg-sas-key."
    connection = http.client.HTTPConnection("127.0.0.1", grid.port, timeout=20)
    connection.request("POST", f"/topics/{grid.topic()}/api/events", b"[]")
    response = connection.getresponse()
    body = json.loads(response.read())
    connection.close()
    details = [{"code": "Unauthorized", "message": message}]
    assert (response.status, body) == (
        401,
        {"error": {"code": "Unauthorized", "message": message, "details": details}},
    )


def test_a_token_signed_with_the_key_is_accepted(grid: Emulated, receiver: Receiver):
    topic = grid.topic()
    grid.subscribe(topic, receiver.url)
    token = generate_sas(grid.endpoint(topic), KEY, datetime.now(UTC) + timedelta(hours=1))
    with EventGridPublisherClient(grid.endpoint(topic), AzureSasCredential(token)) as publisher:
        publisher.send(grid_event())
    assert receiver.wait_ids(1) == ["1"]


FORM_ENCODED = [
    ("{0.month}/{0.day}/{0.year} {hour}:{0.minute}:{0.second} {half}", "Java"),
    ("{0.month}/{0.day}/{0.year} {hour}:{0:%M}:{0:%S} {half} +00:00", ".NET"),
    ("{0.month}/{0.day}/{0.year} {hour}:{0:%M}:{0:%S}\u202f{half} +00:00", ".NET on ICU 72"),
    ("{0:%m}/{0:%d}/{0:%Y} {0:%I}:{0:%M}:{0:%S} {half}", "Microsoft's samples"),
    ("{0:%Y-%m-%dT%H:%M:%S}+00:00", "ISO 8601"),
]


def sdk_token(resource: str, expiry: datetime, form: str, encode=quote_plus) -> str:
    """A token as the SDKs of other languages make it, with the expiry in this form."""
    hour, half = (expiry.hour - 1) % 12 + 1, "AM" if expiry.hour < 12 else "PM"
    signed = f"r={encode(resource)}&e={encode(form.format(expiry, hour=hour, half=half))}"
    digest = hmac.new(base64.b64decode(KEY), signed.encode(), hashlib.sha256).digest()
    return f"{signed}&s={encode(base64.b64encode(digest).decode())}"


@pytest.mark.parametrize("encode", [quote_plus, quote], ids=["form", "percent"])
@pytest.mark.parametrize("form", [form for form, _ in FORM_ENCODED], ids=[sdk for _, sdk in FORM_ENCODED])
@pytest.mark.parametrize("hours", range(0, 24, 5))
def test_a_token_in_the_form_of_each_sdk_is_accepted_until_it_expires(grid: Emulated, form: str, encode, hours: int):
    topic = grid.topic()
    tomorrow = datetime.now(UTC).replace(hour=hours, minute=4, second=5) + timedelta(days=1)
    yesterday = tomorrow - timedelta(days=2)
    codes = []
    for expiry in (tomorrow, yesterday):
        token = sdk_token(grid.endpoint(topic), expiry, form, encode)
        request = urllib.request.Request(grid.endpoint(topic), data=b"[]", headers={"aeg-sas-token": token})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                codes.append(answer.status)
        except urllib.error.HTTPError as error:
            codes.append(error.code)
            assert b"expired at" in error.read()
    assert codes == [200, 401]


def test_an_expiry_that_is_no_date_is_refused_with_401(grid: Emulated):
    topic = grid.topic()
    token = sdk_token(grid.endpoint(topic), datetime.now(UTC), "tomorrow")
    with (
        EventGridPublisherClient(grid.endpoint(topic), AzureSasCredential(token)) as publisher,
        pytest.raises(ClientAuthenticationError, match="can't be read: tomorrow"),
    ):
        publisher.send(grid_event())


@pytest.mark.parametrize(
    ("path", "key", "hours", "reason"),
    [
        ("{topic}", KEY, -1, "expired"),
        ("{topic}", "d3Jvbmc=", 1, "its signature is wrong"),
        ("another-topic", KEY, 1, "another resource"),
    ],
    ids=["expired", "signed with another key", "for another topic"],
)
def test_a_bad_token_is_refused_with_401(grid: Emulated, path: str, key: str, hours: int, reason: str):
    topic = grid.topic()
    token = generate_sas(grid.endpoint(path.format(topic=topic)), key, datetime.now(UTC) + timedelta(hours=hours))
    with (
        EventGridPublisherClient(grid.endpoint(topic), AzureSasCredential(token)) as publisher,
        pytest.raises(ClientAuthenticationError, match=reason),
    ):
        publisher.send(grid_event())


def test_an_unknown_topic_is_404(grid: Emulated):
    with (
        EventGridPublisherClient(grid.endpoint("nowhere"), AzureKeyCredential(KEY)) as publisher,
        pytest.raises(ResourceNotFoundError),
    ):
        publisher.send(grid_event())


def test_the_wrong_schema_is_refused_with_the_vendor_s_message(grid: Emulated):
    with (
        grid.publisher(grid.topic()) as publisher,
        pytest.raises(HttpResponseError, match="This resource is configured for 'EventGridEvent' schema") as caught,
    ):
        publisher.send(cloud_event())
    assert caught.value.status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[{]",
        b'[{"id": NaN}]',
        b"\xff",
        b'"text"',
        json.dumps(GOOD).encode(),
        *(json.dumps([without(GOOD, name)]).encode() for name in ("id", "subject", "eventType", "eventTime")),
        json.dumps([GOOD | {"id": 1}]).encode(),
        json.dumps([GOOD | {"id": ""}]).encode(),
        json.dumps([GOOD | {"eventTime": "yesterday"}]).encode(),
        json.dumps([GOOD | {"dataVersion": 1}]).encode(),
        json.dumps([GOOD | {"colour": "red"}]).encode(),
        json.dumps([GOOD | {"topic": "/another"}]).encode(),
        json.dumps([GOOD | {"metadataVersion": "2"}]).encode(),
    ],
)
def test_an_invalid_event_grid_event_is_refused_with_400(grid: Emulated, body: bytes):
    status, answer = post(grid, grid.topic(), body)
    assert (status, answer["error"]["code"], answer["error"]["details"][0]["code"]) == (
        400,
        "BadRequest",
        "InputJsonInvalid",
    )


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (json.dumps([GOOD_CLOUD]).encode(), "application/cloudevents+json"),
        (json.dumps(GOOD_CLOUD).encode(), "application/cloudevents-batch+json"),
        *(
            (json.dumps([without(GOOD_CLOUD, name)]).encode(), "application/cloudevents-batch+json")
            for name in GOOD_CLOUD
        ),
        (json.dumps(GOOD_CLOUD | {"specversion": "0.3"}).encode(), "application/cloudevents+json"),
        (json.dumps(GOOD_CLOUD | {"Trace-Id": "1"}).encode(), "application/cloudevents+json"),
        (json.dumps(GOOD_CLOUD | {"time": "now"}).encode(), "application/cloudevents+json"),
        (json.dumps(GOOD_CLOUD | {"data": 1, "data_base64": "MQ=="}).encode(), "application/cloudevents+json"),
    ],
)
def test_an_invalid_cloud_event_is_refused_with_400(grid: Emulated, body: bytes, content_type: str):
    assert post(grid, grid.topic("CloudEventSchemaV1_0"), body, content_type)[0] == 400


def test_no_event_of_a_refused_array_is_published(grid: Emulated, receiver: Receiver):
    topic = grid.topic()
    grid.subscribe(topic, receiver.url)
    post(grid, topic, json.dumps([GOOD, without(GOOD, "id")]).encode())
    counts = grid.counts(topic)
    assert (counts["matched"], receiver.notifications) == (0, [])


def test_a_request_of_more_than_one_megabyte_is_refused_with_413(grid: Emulated):
    event = grid_event(data={"blob": "x" * 1_048_576})
    with grid.publisher(grid.topic()) as publisher, pytest.raises(HttpResponseError) as caught:
        publisher.send(event, retry_total=0)
    assert caught.value.status_code == 413


def test_a_request_of_almost_one_megabyte_is_delivered(grid: Emulated, receiver: Receiver):
    topic = grid.topic()
    grid.subscribe(topic, receiver.url)
    grid.publish(topic, grid_event(data={"blob": "x" * 1_040_000}))
    (delivery,) = receiver.wait(1)
    assert len(delivery.body) > 1_040_000
