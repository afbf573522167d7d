"""Publishes the events in Event Grid's dead-letter blobs again, and moves the messages of the poison queue back.

An event of Event Grid has its publisher's id, which it keeps. Its ``topic`` is the topic's to set, and is left out.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final, NamedTuple

import msgspec
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.core.messaging import CloudEvent
from azure.eventgrid import EventGridPublisherClient
from azure.identity import DefaultAzureCredential
from azure.storage.blob import BlobServiceClient, ContainerClient
from azure.storage.queue import QueueServiceClient

from helios.adapters.recovery.eventgrid import dead_letters_of
from helios.errors import ConfigurationError, Rejected, Retryable

REQUEST_BYTES: Final = 900_000
"""Below the 1 MB that Event Grid accepts in a request."""

HIDDEN_SECONDS: Final = 60
"""How long a message is invisible to other consumers while it is moved."""

_OF_THE_TOPIC: Final = {"topic", "metadataversion"}
"""What only a topic may add to an event in its own schema."""


class Storage(NamedTuple):
    """Both services of the storage account."""

    blobs: BlobServiceClient
    queues: QueueServiceClient

    @classmethod
    @contextmanager
    def open(cls, *, account: str | None, connection: str | None) -> "Iterator[Storage]":
        """The account of a connection string, or of this name as the signed-in user.

        Raises:
            ConfigurationError: neither is given, the connection string is invalid, or no user is signed in.
            Retryable: a call failed.
        """
        with ExitStack() as opened:
            try:
                if connection:
                    blobs = BlobServiceClient.from_connection_string(connection)
                    queues = QueueServiceClient.from_connection_string(connection)
                elif account:
                    credential = opened.enter_context(DefaultAzureCredential())
                    blobs = BlobServiceClient(f"https://{account}.blob.core.windows.net", credential)
                    queues = QueueServiceClient(f"https://{account}.queue.core.windows.net", credential=credential)
                else:
                    raise ConfigurationError(
                        "azure: the storage account is not known. Use --account or --deployed, or set "
                        "AZURE_STORAGE_CONNECTION_STRING."
                    )
            except ValueError as error:
                raise ConfigurationError(f"AZURE_STORAGE_CONNECTION_STRING: {error}") from error
            try:
                yield cls(opened.enter_context(blobs), opened.enter_context(queues))
            except ClientAuthenticationError as error:
                raise ConfigurationError(f"azure: no access ({_first_line(error)}). Run `az login`.") from error
            except AzureError as error:
                raise Retryable(f"azure: {_first_line(error)}") from error


def republish(storage: Storage, *, endpoint: str, key: str | None, container: str) -> int:
    """Publish the events of every blob in the container, delete the blob then, and return the number of events.

    Args:
        storage: the account.
        endpoint: the endpoint of the topic.
        key: the topic's access key; None to publish as the signed-in user.
        container: the container of the dead letters.

    Raises:
        Rejected: Event Grid refuses events of a blob, or the blob holds no events. The blob stays.
        AzureError: a call failed.
    """
    published = 0
    with ExitStack() as opened:
        credential = AzureKeyCredential(key) if key else opened.enter_context(DefaultAzureCredential())
        publisher = opened.enter_context(EventGridPublisherClient(endpoint, credential))
        blobs = opened.enter_context(storage.blobs.get_container_client(container))
        for name in list(_names(blobs)):
            content = blobs.download_blob(name).readall()
            events = _events(name, content)
            for request in _requests(events):
                _send(publisher, name, request)
            blobs.delete_blob(name)
            published += len(events)
    return published


def move(storage: Storage, *, queue: str, poison_queue: str) -> int:
    """Move the messages of the poison queue back to the queue, and return their number.

    Raises:
        AzureError: a call failed. Moved messages stay moved.
    """
    moved = 0
    with storage.queues.get_queue_client(poison_queue) as poison, storage.queues.get_queue_client(queue) as target:
        try:
            for message in poison.receive_messages(visibility_timeout=HIDDEN_SECONDS):
                target.send_message(message.content)
                poison.delete_message(message)
                moved += 1
        except ResourceNotFoundError:
            if moved:
                raise
            return 0  # the subscription delivers to the function, without a queue
    return moved


def _names(blobs: ContainerClient) -> Iterator[str]:
    try:
        yield from blobs.list_blob_names()
    except ResourceNotFoundError as error:
        raise Rejected(f"azure: the container {blobs.container_name} does not exist", field="container") from error


def _events(name: str, content: bytes) -> list[dict[str, Any]]:
    """The events of a blob, as their publisher sent them.

    Raises:
        Rejected: the blob is not a list of events.
    """
    try:
        events = dead_letters_of(content)
    except msgspec.DecodeError as error:
        raise Rejected(f"azure: the blob {name} is not a list of events: {error}", field="blob") from error
    own = {field for event in events if "specversion" not in event for field in event if field.lower() in _OF_THE_TOPIC}
    return [{field: value for field, value in event.items() if field not in own} for event in events]


def _requests(events: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The events in requests that are small enough."""
    request: list[dict[str, Any]] = []
    size = 0
    for event in events:
        length = len(msgspec.json.encode(event))
        if request and size + length > REQUEST_BYTES:
            yield request
            request, size = [], 0
        request.append(event)
        size += length
    if request:
        yield request


def _send(publisher: EventGridPublisherClient, name: str, events: list[dict[str, Any]]) -> None:
    cloud_events = "specversion" in events[0]
    try:
        publisher.send([CloudEvent.from_dict(event) for event in events] if cloud_events else events)
    except ClientAuthenticationError:
        raise
    except HttpResponseError as error:
        if error.status_code and error.status_code < 500:  # noqa: PLR2004 - 5xx is retried by the next run
            raise Rejected(
                f"azure: Event Grid refuses the blob {name}: {error.status_code} {error.reason}", field="blob"
            ) from error
        raise


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
