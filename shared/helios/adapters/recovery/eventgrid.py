"""Finds events in Azure: the blobs in which Event Grid stores its dead letters.

Imported only where such a place is searched. Event Grid stores no event that it has delivered.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from azure.core.credentials import AzureSasCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.identity import DefaultAzureCredential
from azure.storage.blob import ContainerClient

from helios.errors import Rejected, TargetUnavailable
from helios.model.events import Delivery
from helios.model.recoveries import PlaceSearch
from helios.ports.recoveries import Wanted

ADDED: Final = frozenset(
    name.lower()
    for name in (
        *("deadLetterReason", "deliveryAttempts", "lastDeliveryOutcome", "lastHttpStatusCode", "publishTime"),
        *("lastDeliveryAttemptTime", "deadLetterProperties"),
    )
)
"""What Event Grid adds to a dead letter: Microsoft's "Event Grid message delivery and retry"."""

MAX_TRIES: Final = 3


class DeadLetterBlobsPlace:
    """Implements ``Place``: the container of Event Grid's dead letters. No blob is changed or removed.

    A blob may have events of several orders, and a later redrive publishes all of them: the event that was brought back
    is then a duplicate.
    """

    source = "azure"

    def __init__(self, container: str, sas: str | None, *, name: str) -> None:
        """Build the client.

        Args:
            container: the URL of the container.
            sas: a shared access signature that may list and read; None: the identity of the process.
            name: the name of the place.
        """
        self.name = name
        credential = AzureSasCredential(sas) if sas else DefaultAzureCredential()
        self._blobs = ContainerClient.from_container_url(
            container, credential=credential, retry_total=MAX_TRIES, connection_timeout=2, read_timeout=10
        )

    def search(self, wanted: Wanted) -> PlaceSearch:
        """Read the blobs that were written since the event may have been published, and bring back what is wanted."""
        found = 0
        with _translated():
            for blob in self._blobs.list_blobs():
                if blob.last_modified < wanted.since:
                    continue
                content = self._blobs.download_blob(blob.name).readall()
                found += wanted.take(deliveries_of(content)).new
                if found and not wanted.leg.many:
                    break
        detail = "found." if found else "do not have the event. Event Grid stores no event that it has delivered."
        return PlaceSearch(place=self.name, found=found, detail=detail)

    def drop_except(self, names: Collection[str], *, prefix: str) -> int:  # noqa: ARG002 - nothing is created
        """Nothing is created here."""
        return 0


def deliveries_of(content: bytes) -> list[Delivery]:
    """The events of a dead-letter blob as Event Grid delivers them; none if the blob has another content."""
    try:
        events = dead_letters_of(content)
    except msgspec.DecodeError:
        return []  # other files may be in the container
    now = datetime.now(UTC)
    return [Delivery(channel="eventgrid", body=msgspec.json.encode(event), received_at=now) for event in events]


def dead_letters_of(content: bytes) -> list[dict[str, Any]]:
    """The events of a dead-letter blob, without what Event Grid adds to a dead letter.

    Raises:
        msgspec.DecodeError: the blob is not a list of events.
    """
    events = msgspec.json.decode(content, type=list[dict[str, Any]])
    return [{field: value for field, value in event.items() if field.lower() not in ADDED} for event in events]


@contextmanager
def _translated() -> Iterator[None]:
    """Azure's errors as those of ``Place``."""
    try:
        yield
    except ClientAuthenticationError as error:
        raise Rejected(f"refuses: {_first_line(error)}", field="Azure Storage") from error
    except HttpResponseError as error:
        if error.status_code and error.status_code < 500 and error.status_code not in {408, 429}:  # noqa: PLR2004 - 4xx
            raise Rejected(f"refuses: {_first_line(error)}", field="Azure Storage") from error
        raise TargetUnavailable(f"Azure Storage: {_first_line(error)}") from error
    except AzureError as error:
        raise TargetUnavailable(f"Azure Storage: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
