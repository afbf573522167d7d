"""Set up topics and subscriptions of the emulator over HTTP.

``python -m local.emulators.eventgrid.client`` does this for the demo.
"""

import argparse
import http.client
import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from local.emulators.eventgrid import dead_letters
from local.stack.config import DEAD_LETTERS

_SECONDS = 90
"""Longer than the handshake with an endpoint that never answers."""

MAX_EVENTS_PER_BATCH = 50
"""Largest batch for the demo's function; the function stores a batch in one transaction."""


class SetupFailed(Exception):  # noqa: N818 - reads as the fact it is
    """The emulator refused a topic or a subscription; the message is the emulator's."""


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
    """Create or update a topic with one webhook subscription, and return the URL to publish to.

    A second call with the same arguments changes nothing, except that it asks the endpoint for its consent again.

    Args:
        url: the URL of the emulator: ``http://127.0.0.1:8087``.
        topic: the topic's name.
        key: the key for publishers; Base64, if they sign tokens with it.
        subscription: the subscription's name.
        endpoint_url: the URL to deliver to; it must answer already.
        input_schema: ``EventGridSchema`` or ``CloudEventSchemaV1_0``.
        max_events_per_batch: 1 to 5000.
        webhook: further properties of the endpoint, with Azure's names, such as ``deliveryAttributeMappings``.
        dead_letter_container: the container for undeliverable events; None drops them.
        properties: further properties of the subscription, with Azure's names, such as ``filter``.

    Raises:
        SetupFailed: the emulator refused the topic or the subscription.
        OSError: the emulator can't be reached.
    """
    endpoint = {"endpointUrl": endpoint_url, "maxEventsPerBatch": max_events_per_batch, **webhook}
    desired: dict[str, Any] = {"destination": {"endpointType": "WebHook", "properties": endpoint}} | properties
    if dead_letter_container:
        blob = {"blobContainerName": dead_letter_container}
        desired["deadLetterDestination"] = {"endpointType": "StorageBlob", "properties": blob}
    created = call(url, "PUT", f"/topics/{topic}", {"key1": key, "properties": {"inputSchema": input_schema}})
    call(url, "PUT", f"/topics/{topic}/eventSubscriptions/{subscription}", {"properties": desired})
    publish_url: str = created["properties"]["endpoint"]
    return publish_url


def topic_url(url: str, topic: str) -> str:
    """The URL to publish to a topic of the emulator at ``url``."""
    return f"{url}/topics/{topic}/api/events"


def dead_letters_url(url: str, topic: str) -> str:
    """The URL of the container of dead letters of the demo's subscription of a topic."""
    return f"{url}{dead_letters.PATH}/{topic}{DEAD_LETTERS}"


def dead_letters_signature(key: str) -> str:
    """The shared access signature with which the emulator lets a client read dead letters: a key of a topic."""
    return f"sig={quote(key, safe='')}"


def status(url: str) -> dict[str, Any]:
    """The emulator's counts by topic."""
    topics: dict[str, Any] = call(url, "GET", "/status")["topics"]
    return topics


def call(url: str, method: str, path: str, body: Any = None) -> Any:
    """The emulator's answer to a request.

    ``http.client`` and not ``urllib``, which would send requests to loopback through a proxy of the environment.

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
    parser.add_argument("--url", required=True, help="URL of the emulator")
    parser.add_argument("--topic", required=True, help="the topic's name")
    # Other users can read a command line, and not an environment.
    parser.add_argument("--key", default=os.environ.get("EVENTGRID_TOPIC_KEY"), help="the key for publishers")
    parser.add_argument(
        "--endpoint-url", default=os.environ.get("EVENTGRID_ENDPOINT_URL"), help="the URL to deliver to"
    )
    options = parser.parse_args(arguments)
    if not options.key or not options.endpoint_url:
        parser.error("set --key and --endpoint-url, or EVENTGRID_TOPIC_KEY and EVENTGRID_ENDPOINT_URL")
    ensure(
        options.url,
        topic=options.topic,
        key=options.key,
        subscription=f"{options.topic}-function",
        endpoint_url=options.endpoint_url,
        max_events_per_batch=MAX_EVENTS_PER_BATCH,
        dead_letter_container=f"{options.topic}{DEAD_LETTERS}",
    )


if __name__ == "__main__":
    main()
