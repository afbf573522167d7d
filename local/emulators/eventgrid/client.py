"""Set the emulator up over HTTP: what a deployer needs.

``python -m local.emulators.eventgrid.client`` does it for the demo.
"""

import argparse
import http.client
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import msgspec

_SECONDS = 90
"""Longer than a handshake with an endpoint that never answers."""

MAX_EVENTS_PER_BATCH = 50
"""What the demo's function gets at once, at most: the coalescer makes one transaction of it."""


class SetupFailed(Exception):  # noqa: N818 - reads as the fact it is
    """The emulator refused a topic or a subscription; the message is its own."""


def ensure(
    url: str,
    *,
    topic: str,
    key: str,
    subscription: str,
    endpoint_url: str,
    input_schema: str = "EventGridSchema",
    max_events_per_batch: int = 1,
    webhook: Mapping[str, Any] = MappingProxyType({}),
    dead_letter_container: str | None = None,
    **properties: Any,
) -> str:
    """Make a topic with one webhook subscription exist just so, and return the URL to publish to.

    Doing it again changes nothing, except that the endpoint is asked for its consent again.

    Args:
        url: the emulator's: ``http://127.0.0.1:8087``.
        topic: the topic's name.
        key: the key publishers will use; Base64, if they are to sign tokens with it.
        subscription: the subscription's name.
        endpoint_url: where to deliver; it must answer already.
        input_schema: ``EventGridSchema`` or ``CloudEventSchemaV1_0``.
        max_events_per_batch: 1 to 5000.
        webhook: further properties of the endpoint, in Azure's words: ``deliveryAttributeMappings``.
        dead_letter_container: where undeliverable events go; None drops them.
        properties: further properties of the subscription, in Azure's words: ``filter``, ``retryPolicy``.

    Raises:
        SetupFailed: the emulator refused it.
        OSError: the emulator can't be reached.
    """
    endpoint = {"endpointUrl": endpoint_url, "maxEventsPerBatch": max_events_per_batch, **webhook}
    wanted: dict[str, Any] = {"destination": {"endpointType": "WebHook", "properties": endpoint}} | properties
    if dead_letter_container:
        blob = {"blobContainerName": dead_letter_container}
        wanted["deadLetterDestination"] = {"endpointType": "StorageBlob", "properties": blob}
    made = call(url, "PUT", f"/topics/{topic}", {"key1": key, "properties": {"inputSchema": input_schema}})
    call(url, "PUT", f"/topics/{topic}/eventSubscriptions/{subscription}", {"properties": wanted})
    publish_url: str = made["properties"]["endpoint"]
    return publish_url


def topic_url(url: str, topic: str) -> str:
    """Where to publish to a topic of the emulator at this URL."""
    return f"{url}/topics/{topic}/api/events"


def status(url: str) -> dict[str, Any]:
    """The emulator's counts by topic."""
    topics: dict[str, Any] = call(url, "GET", "/status")["topics"]
    return topics


def call(url: str, method: str, path: str, body: Any = None) -> Any:
    """One request to the emulator, and its answer.

    ``http.client`` and not ``urllib``: a proxy that the environment names has no business with loopback.

    Raises:
        SetupFailed: the answer is an error.
        OSError: the emulator can't be reached.
    """
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=_SECONDS)
    try:
        connection.request(method, path, None if body is None else msgspec.json.encode(body))
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    answer = msgspec.json.decode(content) if content else None
    if response.status >= http.HTTPStatus.BAD_REQUEST:
        raise SetupFailed(f"{method} {path}: {answer['error']['message'] if answer else response.status}")
    return answer


def main(arguments: Sequence[str] | None = None) -> None:
    """Set up one topic and its webhook subscription."""
    parser = argparse.ArgumentParser(prog="python -m local.emulators.eventgrid.client", description=__doc__)
    parser.add_argument("--url", required=True, help="the emulator's")
    parser.add_argument("--topic", required=True)
    parser.add_argument("--key", required=True, help="the key publishers use")
    parser.add_argument("--endpoint-url", required=True, help="where to deliver")
    given = parser.parse_args(arguments)
    ensure(
        given.url,
        topic=given.topic,
        key=given.key,
        subscription=f"{given.topic}-function",
        endpoint_url=given.endpoint_url,
        max_events_per_batch=MAX_EVENTS_PER_BATCH,
        dead_letter_container=f"{given.topic}-dead-letters",
    )


if __name__ == "__main__":
    main()
