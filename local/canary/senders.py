"""The senders of canary events, one per authenticator: each sets up its route to the API and publishes by an SDK."""

import http.client
import json
import os
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from azure.core.credentials import AzureKeyCredential
from azure.eventgrid import EventGridEvent, EventGridPublisherClient
from google.cloud import pubsub_v1
from standardwebhooks.webhooks import Webhook

from helios.model.sources import BuiltIn
from helios.processes.ports import HOST
from local.canary.aws import Bus
from local.canary.sns import Server
from local.emulators.eventgrid import client as eventgrid
from local.emulators.pubsub import client as pubsub
from local.stack.config import CANARY, CANARY_TYPE, GCP_PROJECT, WEBHOOK_AUTH

_WEBHOOKS = "/api/v1/webhooks"
_SECONDS = 10


class Sender(NamedTuple):
    """The sender of the canary events for one authenticator.

    Attributes:
        authenticator: its name in HELIOS_WEBHOOK_AUTH.
        source: the cloud of the event.
        send: sends one event, and returns its id.
    """

    authenticator: str
    source: BuiltIn
    send: Callable[[], str]


class Addresses(NamedTuple):
    """The URLs of the API and the emulators; Pub/Sub's client reads its own from the environment."""

    api_url: str
    aws_url: str
    eventgrid_url: str


def senders(addresses: Addresses, bus: Bus, server: Server, stack: ExitStack) -> list[Sender]:
    """One sender for each authenticator; the exit stack closes their clients."""
    bus.set_up(
        webhook_url=f"{addresses.api_url}{_WEBHOOKS}/aws/eventbridge",
        sns_endpoint_url=f"http://{HOST}:{server.server_port}{server.path}",
    )
    return [
        Sender("key", "aws", lambda: bus.put("key", CANARY_TYPE, _content("key"))),
        Sender("sns", "aws", lambda: bus.put("sns", CANARY_TYPE, _content("sns"))),
        Sender("oidc", "gcp", _pubsub(addresses, stack)),
        Sender("secret", "azure", _event_grid("secret", addresses, _secret_header(), stack)),
        Sender("entra", "azure", _event_grid("entra", addresses, _ENTRA, stack)),
        Sender("hmac", "gcp", lambda: _standard_webhook(addresses)),
    ]


_ENTRA = {
    "azureActiveDirectoryTenantId": WEBHOOK_AUTH["HELIOS_ENTRA_TENANT"],
    "azureActiveDirectoryApplicationIdOrUri": WEBHOOK_AUTH["HELIOS_ENTRA_AUDIENCE"],
}


def _secret_header() -> dict[str, Any]:
    secret = {"value": os.environ["HELIOS_EVENTGRID_SECRET"], "isSecret": True}
    return {"deliveryAttributeMappings": [{"name": "x-helios-key", "type": "Static", "properties": secret}]}


def _content(authenticator: str) -> dict[str, str]:
    return {"past": authenticator}


def _pubsub(addresses: Addresses, stack: ExitStack) -> Callable[[], str]:
    pubsub.ensure(
        project=GCP_PROJECT,
        topic=CANARY,
        subscription=f"{CANARY}-api",
        push_endpoint=f"{addresses.api_url}{_WEBHOOKS}/gcp/pubsub",
        service_account=WEBHOOK_AUTH["HELIOS_PUBSUB_SERVICE_ACCOUNT"],
        audience=WEBHOOK_AUTH["HELIOS_PUBSUB_AUDIENCE"],
    )
    publisher = stack.enter_context(pubsub_v1.PublisherClient())
    topic = publisher.topic_path(GCP_PROJECT, CANARY)

    def send() -> str:
        content = json.dumps(_content("oidc")).encode()
        id_: str = publisher.publish(topic, content, event_type=CANARY_TYPE).result(_SECONDS)
        return id_

    return send


def _event_grid(
    authenticator: str, addresses: Addresses, credentials: Mapping[str, Any], stack: ExitStack
) -> Callable[[], str]:
    """A sender with a topic of its own, as two subscriptions of one topic would deliver each event twice."""
    key = os.environ["HELIOS_AZURE_EVENTGRID_KEY"]
    endpoint = eventgrid.ensure(
        addresses.eventgrid_url,
        topic=f"{CANARY}-{authenticator}",
        key=key,
        subscription=f"{CANARY}-api",
        endpoint_url=f"{addresses.api_url}{_WEBHOOKS}/azure/eventgrid",
        webhook=credentials,
    )
    publisher = stack.enter_context(EventGridPublisherClient(endpoint, AzureKeyCredential(key)))

    def send() -> str:
        id_, subject = str(uuid.uuid4()), f"canary/{authenticator}"
        event = EventGridEvent(
            id=id_, subject=subject, event_type=CANARY_TYPE, data=_content(authenticator), data_version="1.0"
        )
        publisher.send(event)
        return id_

    return send


def _standard_webhook(addresses: Addresses) -> str:
    """Send a signed Standard Webhook, and return its id; no emulator is needed, as the sender signs the request."""
    id_, now = str(uuid.uuid4()), datetime.now(UTC)
    event = {
        "specversion": "1.0",
        "id": id_,
        "source": f"https://{CANARY}.example",
        "cloud": "gcp",
        "type": CANARY_TYPE,
        "time": now.isoformat(),
        "datacontenttype": "application/json",
        "data": _content("hmac"),
    }
    body = json.dumps(event)
    headers = {
        "content-type": "application/cloudevents+json",
        "webhook-id": id_,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(os.environ["HELIOS_CLOUDEVENTS_SECRET"]).sign(id_, now, body),
    }
    connection = http.client.HTTPConnection(urlsplit(addresses.api_url).netloc, timeout=_SECONDS)
    try:
        connection.request("POST", f"{_WEBHOOKS}/cloudevents", body.encode(), headers)
        connection.getresponse()
    finally:
        connection.close()
    return id_
