"""No event is delivered before consent: the validation event, the validation URL, and the OPTIONS of CloudEvents."""

import http.client
import json
import time
from urllib.parse import urlsplit

import jwt
import pytest

from local.emulators.eventgrid import client
from local.emulators.eventgrid.client import SetupFailed
from tests.emulators.eventgrid.emulated import Emulated
from tests.emulators.eventgrid.events import grid_event
from tests.emulators.eventgrid.receiver import Answer, Received, Receiver


def get(url: str) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=20)
    connection.request("GET", f"{parts.path}?{parts.query}")
    status = connection.getresponse().status
    connection.close()
    return status


def state(grid: Emulated, topic: str) -> str:
    provisioning_state: str = grid.subscription(topic)["properties"]["provisioningState"]
    return provisioning_state


def test_the_validation_event_has_the_fields_that_the_vendor_documents(grid: Emulated, receiver: Receiver):
    topic = grid.topic()
    created = grid.subscribe(topic, receiver.url)
    (request,) = receiver.handshakes
    (event,) = request.json
    assert created["properties"]["provisioningState"] == "Succeeded"
    assert request.headers["aeg-event-type"] == "SubscriptionValidation"
    assert set(event) == {"id", "topic", "subject", "data", "eventType", "eventTime", "metadataVersion", "dataVersion"}
    assert event["eventType"] == "Microsoft.EventGrid.SubscriptionValidationEvent"
    assert set(event["data"]) == {"validationCode", "validationUrl"}


def test_opening_the_validation_url_consents(grid_in_real_time: Emulated, receiver: Receiver):
    grid = grid_in_real_time
    receiver.handshake = lambda _request: Answer(body=b"thanks")
    topic = grid.topic()
    grid.subscribe(topic, receiver.url)
    before = state(grid, topic)
    grid.publish(topic, grid_event("too early"))
    assert get(receiver.handshakes[0].json[0]["data"]["validationUrl"]) == 200
    grid.publish(topic, grid_event("in time"))
    assert (before, state(grid, topic), receiver.wait_ids(1)) == ("AwaitingManualAction", "Succeeded", ["in time"])


def test_the_validation_url_may_be_opened_during_the_handshake(grid: Emulated, receiver: Receiver):
    def open_it_first(request: Received) -> Answer:
        assert get(request.json[0]["data"]["validationUrl"]) == 200
        return Answer()

    receiver.handshake = open_it_first
    topic = grid.topic()
    grid.subscribe(topic, receiver.url)
    assert state(grid, topic) == "Succeeded"


def test_the_validation_url_expires_after_five_minutes(grid: Emulated, receiver: Receiver):
    receiver.handshake = lambda _request: Answer()
    topic = grid.topic()
    grid.subscribe(topic, receiver.url)
    url = receiver.handshakes[0].json[0]["data"]["validationUrl"]
    assert get(url[:-4] + "0000") == 400
    time.sleep(0.35)  # 300 s at the scale of these tests
    assert (get(url), state(grid, topic)) == (400, "Failed")


@pytest.mark.parametrize(
    "answer",
    [Answer(202), Answer(404), Answer(500), Answer(301, {"location": "/"})],
    ids=["202", "404", "500", "redirect"],
)
def test_any_status_but_200_fails_the_handshake(grid: Emulated, receiver: Receiver, answer: Answer):
    receiver.handshake = lambda _request: answer
    topic = grid.topic()
    with pytest.raises(SetupFailed, match="Webhook validation handshake failed"):
        grid.subscribe(topic, receiver.url)
    assert state(grid, topic) == "Failed"


def test_a_202_with_the_code_fails_the_handshake(grid: Emulated, receiver: Receiver):
    receiver.handshake = lambda request: Answer(
        202, body=json.dumps({"validationResponse": request.json[0]["data"]["validationCode"]}).encode()
    )
    with pytest.raises(SetupFailed):
        grid.subscribe(grid.topic(), receiver.url)


def test_an_unreachable_endpoint_fails_without_a_key_in_the_message(grid: Emulated):
    with pytest.raises(SetupFailed, match="can't be reached") as caught:
        grid.subscribe(grid.topic(), "http://127.0.0.1:1/hook?code=s3cret")
    assert "s3cret" not in str(caught.value)


def test_a_cloud_events_handshake_is_an_options_request(grid: Emulated, receiver: Receiver):
    topic = grid.topic("CloudEventSchemaV1_0")
    grid.subscribe(topic, receiver.url)
    (request,) = receiver.handshakes
    assert (request.method, request.headers["webhook-request-origin"]) == ("OPTIONS", "eventgrid.azure.net")
    assert {"webhook-request-rate", "webhook-request-callback"} <= request.headers.keys()
    assert state(grid, topic) == "Succeeded"


def test_a_star_allows_the_origin_of_event_grid(grid: Emulated, receiver: Receiver):
    receiver.handshake = lambda _request: Answer(headers={"WebHook-Allowed-Origin": "*"})
    topic = grid.topic("CloudEventSchemaV1_0")
    grid.subscribe(topic, receiver.url)
    assert state(grid, topic) == "Succeeded"


def test_opening_the_callback_url_consents(grid_in_real_time: Emulated, receiver: Receiver):
    grid = grid_in_real_time
    receiver.handshake = lambda _request: Answer()
    topic = grid.topic("CloudEventSchemaV1_0")
    grid.subscribe(topic, receiver.url)
    before = state(grid, topic)
    assert get(receiver.handshakes[0].headers["webhook-request-callback"]) == 200
    assert (before, state(grid, topic)) == ("AwaitingManualAction", "Succeeded")


@pytest.mark.parametrize(
    "answer",
    [Answer(405), Answer(headers={"WebHook-Allowed-Origin": "example.com"})],
    ids=["405", "another origin"],
)
def test_a_declined_options_request_fails_the_handshake(grid: Emulated, receiver: Receiver, answer: Answer):
    receiver.handshake = lambda _request: answer
    with pytest.raises(SetupFailed, match="Webhook validation handshake failed"):
        grid.subscribe(grid.topic("CloudEventSchemaV1_0"), receiver.url)


def test_a_failed_change_leaves_the_subscription_unchanged(grid: Emulated, receiver: Receiver):
    topic = grid.topic()
    grid.subscribe(topic, receiver.url)
    with pytest.raises(SetupFailed):
        grid.subscribe(topic, "http://127.0.0.1:1/")
    grid.publish(topic, grid_event())
    assert receiver.wait_ids(1) == ["1"]


def test_a_change_takes_effect_when_the_validation_url_is_opened(grid_in_real_time: Emulated, receiver: Receiver):
    grid = grid_in_real_time
    topic = grid.topic()
    grid.subscribe(topic, receiver.url)
    receiver.handshake = lambda _request: Answer(body=b"by hand")
    grid.subscribe(topic, receiver.url, filter={"includedEventTypes": ["Other"]})
    grid.publish(topic, grid_event("as before"))
    receiver.wait_ids(1)
    assert get(receiver.handshakes[1].json[0]["data"]["validationUrl"]) == 200
    grid.publish(topic, grid_event("filtered"))
    properties = grid.subscription(topic)["properties"]

    assert (properties["provisioningState"], properties["filter"]["includedEventTypes"]) == ("Succeeded", ["Other"])
    assert (grid.counts(topic)["matched"], receiver.ids) == (1, ["as before"])


def test_a_cloud_events_topic_refuses_delivery_in_event_grid_s_schema(grid: Emulated, receiver: Receiver):
    with pytest.raises(SetupFailed, match="can't be delivered as EventGridSchema"):
        grid.subscribe(grid.topic("CloudEventSchemaV1_0"), receiver.url, eventDeliverySchema="EventGridSchema")


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"destination": {"endpointType": "EventHub", "properties": {}}},
        {"destination": {"endpointType": "WebHook", "properties": {"endpointUrl": "ftp://x"}}},
        {"destination": {"endpointType": "WebHook", "properties": {"endpointUrl": "http://x", "maxEventsPerBatch": 0}}},
        {"destination": {"endpointType": "WebHook", "properties": {"endpointUrl": "http://x", "colour": 1}}},
    ],
)
def test_an_invalid_subscription_is_refused(grid: Emulated, properties: object):
    with pytest.raises(SetupFailed):
        client.call(grid.url, "PUT", f"/topics/{grid.topic()}/eventSubscriptions/helios", {"properties": properties})


ENTRA = {
    "azureActiveDirectoryTenantId": "11111111-2222-3333-4444-555555555555",
    "azureActiveDirectoryApplicationIdOrUri": "api://helios",
}


@pytest.mark.parametrize("schema", ["EventGridSchema", "CloudEventSchemaV1_0"])
def test_with_entra_every_request_has_a_token_of_the_tenant(grid: Emulated, receiver: Receiver, schema):
    topic = grid.topic()
    grid.subscribe(topic, receiver.url, webhook=ENTRA, eventDeliverySchema=schema)
    grid.publish(topic, grid_event("secured"))
    receiver.wait_ids(1)
    keys = jwt.PyJWKClient(f"{grid.url}/{ENTRA['azureActiveDirectoryTenantId']}/discovery/v2.0/keys", timeout=20)

    for request in (receiver.handshakes[0], receiver.notifications[0]):
        token = request.headers["authorization"].removeprefix("Bearer ")
        claims = jwt.decode(
            token,
            keys.get_signing_key_from_jwt(token).key,
            algorithms=["RS256"],
            audience="api://helios",
            issuer=f"https://sts.windows.net/{ENTRA['azureActiveDirectoryTenantId']}/",
        )
        assert claims["appid"] == "4962773b-9cdb-44cf-a8bf-237846a00ab7"


@pytest.mark.parametrize("name", ENTRA)
def test_one_of_the_two_entra_settings_alone_is_refused(grid: Emulated, receiver: Receiver, name):
    with pytest.raises(SetupFailed, match="belong together"):
        grid.subscribe(grid.topic(), receiver.url, webhook={name: ENTRA[name]})
