"""Publishes events to an Event Grid topic with azure-eventgrid."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec
from azure.core.credentials import AzureKeyCredential, TokenCredential
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.eventgrid import EventGridPublisherClient
from azure.identity import DefaultAzureCredential

from helios.errors import ConfigurationError

from .answers import Answer, is_transient, may_have_been_accepted, retryable
from .envelopes import timestamp
from .plan import Emission

MOST_EVENTS: Final = 100
"""Far below Event Grid's limit of 1 MB for a request, as these events have less than 2 KB."""

_SCOPE: Final = "https://eventgrid.azure.net/.default"
"""Azure Event Grid documentation, "Authenticate Event Grid publishing clients using Microsoft Entra ID"."""


class EventGrid:
    """A Publisher for one basic topic with the Event Grid schema, which keeps the publisher's ids."""

    batch = MOST_EVENTS
    concurrency = 4

    def __init__(self, url: str, *, key: str | None) -> None:
        """Build a publisher; the client posts to exactly this URL.

        Args:
            url: the topic's endpoint.
            key: the topic's access key; None to publish as the signed-in user.

        Raises:
            ConfigurationError: there is neither a key nor a signed-in user.
        """
        self._client = EventGridPublisherClient(url, AzureKeyCredential(key) if key else _signed_in())
        self._threads = ThreadPoolExecutor(self.concurrency, thread_name_prefix="eventgrid")

    async def publish(self, emissions: Sequence[Emission]) -> list[Answer]:
        """Publish the events in one request: Event Grid accepts all or none."""
        answer = await asyncio.get_running_loop().run_in_executor(self._threads, self._send, emissions)
        return [answer] * len(emissions)

    async def close(self) -> None:
        """Close the connections."""
        self._threads.shutdown()
        self._client.close()

    def _send(self, emissions: Sequence[Emission]) -> Answer:
        try:
            # retry_total: the queue retries and reports each retry. The constructor would ignore the argument.
            self._client.send([_event(emission) for emission in emissions], retry_total=0)
        except ResourceNotFoundError as error:
            # A restarted emulator has no topics until they are created again.
            return retryable(f"HTTP 404: {error.message}")
        except HttpResponseError as error:
            return _refused(error)
        except ServiceRequestError as error:
            return retryable(str(error))
        except ServiceResponseError as error:
            return retryable(str(error), maybe_accepted=True)
        except AzureError as error:
            return Answer(outcome="failed", reason=str(error))
        return Answer(outcome="accepted")


def _signed_in() -> TokenCredential:
    credential = DefaultAzureCredential()
    try:
        credential.get_token(_SCOPE)
    except ClientAuthenticationError as error:
        credential.close()
        raise ConfigurationError(
            "azure: no credentials: run `az login` as a user who may publish (EventGrid Data Sender), or set "
            f"HELIOS_AZURE_EVENTGRID_KEY to the topic's access key ({error.message.splitlines()[0]})"
        ) from error
    return credential


def _refused(error: HttpResponseError) -> Answer:
    status = error.status_code or 0
    reason = f"HTTP {status}: {error.reason}"
    if is_transient(status):
        return retryable(reason, maybe_accepted=may_have_been_accepted(status))
    return Answer(outcome="failed", reason=reason)


def _event(emission: Emission) -> dict[str, object]:
    """An event in the Event Grid schema, without the fields that the topic adds."""
    return {
        "id": emission.id,
        "subject": emission.subject,
        "eventType": emission.type,
        "eventTime": timestamp(emission.time),
        "data": msgspec.json.decode(emission.data),
        "dataVersion": "1.0",
    }
