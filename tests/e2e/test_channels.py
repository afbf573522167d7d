"""Each cloud's channel refuses a bad token, key or handshake with the status that the vendor documents.

EventBridge is not tested here: requests to a bus are signed, and ministack does not verify the signature. The API
behind its emulated API Gateway has the authenticators of Helios.
"""

import http.client
import json
import uuid
from collections.abc import Mapping
from urllib.parse import urlsplit

import pytest
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError
from azure.eventgrid import EventGridEvent, EventGridPublisherClient
from google.cloud import pubsub_v1
from google.pubsub_v1 import types

from local.aws import deployer
from local.emulators.eventgrid.client import SetupFailed, ensure, topic_url
from local.stack.config import AZURE_TOPIC, GCP_INVOKER, GCP_PROJECT
from tests.emulators.pubsub.receiver import Receiver
from tests.support.waiting import eventually


def post(url: str, headers: Mapping[str, str], body: object = None) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    path = parts.path or "/"
    connection.request(
        "POST", f"{path}?{parts.query}", json.dumps(body), {"content-type": "application/json", **headers}
    )
    status = connection.getresponse().status
    connection.close()
    return status


def authorization_for(stack, monkeypatch, account: str, audience: str) -> str:
    """The Authorization header of a push for this account: a token signed with Pub/Sub's key."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{stack.config.pubsub_port}")
    name = f"channel-{uuid.uuid4().hex[:8]}"
    with Receiver() as receiver, pubsub_v1.PublisherClient() as publisher, pubsub_v1.SubscriberClient() as subscriber:
        topic, subscription = publisher.topic_path(GCP_PROJECT, name), subscriber.subscription_path(GCP_PROJECT, name)
        token = types.PushConfig.OidcToken(service_account_email=account, audience=audience)
        push = types.PushConfig(push_endpoint=receiver.url, oidc_token=token)
        publisher.create_topic(name=topic)
        subscriber.create_subscription(name=subscription, topic=topic, push_config=push)
        publisher.publish(topic, b"x").result(timeout=30)
        eventually(lambda: bool(receiver.received))
        subscriber.delete_subscription(subscription=subscription)
        return receiver.received[0].headers["authorization"]


def test_the_cloud_function_accepts_only_pushes_of_the_invoker_s_account(stack, monkeypatch):
    function = stack.config.gcp_function_url
    other_account = authorization_for(stack, monkeypatch, "other@shop.iam.gserviceaccount.com", function)
    other_audience = authorization_for(stack, monkeypatch, GCP_INVOKER, "http://127.0.0.1:1")

    assert post(function, {}) == 403
    assert post(function, {"authorization": "Bearer nonsense"}) == 401
    assert post(function, {"authorization": other_audience}) == 401
    assert post(function, {"authorization": other_account}) == 403


def test_event_grid_s_topic_accepts_only_its_key(stack):
    url = topic_url(stack.config.eventgrid_url, AZURE_TOPIC)
    event = EventGridEvent(subject="s", event_type="InventoryReserved", data={}, data_version="1.0")
    with (
        EventGridPublisherClient(url, AzureKeyCredential("d3Jvbmc=")) as publisher,
        pytest.raises(ClientAuthenticationError) as refused,
    ):
        publisher.send(event, retry_total=0)

    assert refused.value.status_code == 401


@pytest.mark.parametrize("code", ["", "&code=wrong"])
def test_the_azure_function_accepts_only_event_grid_s_key(stack, code):
    url = f"{stack.config.azure_function_url}/runtime/webhooks/EventGrid?functionName=ingest{code}"

    assert post(url, {"aeg-event-type": "Notification"}, []) == 401


def test_event_grid_creates_no_subscription_without_a_handshake(stack):
    """The function's host answers 401 without the key, so Event Grid refuses the subscription with 400, like Azure."""
    with pytest.raises(SetupFailed, match="handshake failed"):
        ensure(
            stack.config.eventgrid_url,
            topic=f"channel-{uuid.uuid4().hex[:8]}",
            key="d3Jvbmc=",
            subscription="helios",
            endpoint_url=f"{stack.config.azure_function_url}/runtime/webhooks/EventGrid?functionName=ingest",
        )


def test_the_api_behind_aws_gateway_accepts_only_the_bus_s_key(stack):
    url = f"{deployer.api_url(stack.config.aws_url)}/api/v1/webhooks/aws/eventbridge"

    assert post(url, {"x-helios-key": "wrong"}, {}) == 401
