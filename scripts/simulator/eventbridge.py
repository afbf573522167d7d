"""Puts events on an EventBridge bus with boto3."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NotConnected

from helios.errors import ConfigurationError

from .answers import Answer, is_transient, may_have_been_accepted, retryable
from .envelopes import EVENT_SOURCE
from .plan import Emission

MOST_ENTRIES: Final = 10
"""Amazon EventBridge API Reference, "PutEvents": the largest number of entries in one call."""

_TRANSIENT: Final = {
    "InternalException",
    "InternalFailure",
    "ResourceNotFoundException",  # a restarted emulator has no buses until they are created again
    "ServiceUnavailable",
    "Throttling",
    "ThrottlingException",
}
"""Error codes of temporary failures; the others mean that the entry or the credentials are wrong."""


class EventBridge:
    """A Publisher for one bus. EventBridge assigns a new id to each event, also when the same one is put again."""

    batch = MOST_ENTRIES
    concurrency = 4

    def __init__(self, url: str, *, region: str, bus: str) -> None:
        """Build a publisher for the bus at this endpoint.

        Raises:
            ConfigurationError: boto3 finds no credentials.
        """
        session = boto3.Session(region_name=region)
        if session.get_credentials() is None:
            raise ConfigurationError(
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set (the emulator accepts any value)"
            )
        self._bus = bus
        # The queue retries and reports each retry; botocore's own retries would hide an outage.
        config = Config(
            retries={"total_max_attempts": 1},
            max_pool_connections=self.concurrency,
            connect_timeout=5,
            read_timeout=30,
        )
        self._client = session.client("events", endpoint_url=url, config=config)
        self._threads = ThreadPoolExecutor(self.concurrency, thread_name_prefix="eventbridge")

    async def publish(self, emissions: Sequence[Emission]) -> list[Answer]:
        """Put up to MOST_ENTRIES events on the bus."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._put, emissions)

    async def close(self) -> None:
        """Close the connections."""
        self._threads.shutdown()
        self._client.close()

    def _put(self, emissions: Sequence[Emission]) -> list[Answer]:
        try:
            reply = self._client.put_events(Entries=[self._entry(emission) for emission in emissions])
        except NotConnected as error:
            return [retryable(str(error))] * len(emissions)
        except HTTPClientError as error:
            return [retryable(str(error), maybe_accepted=True)] * len(emissions)
        except ClientError as error:
            return [_refused(error)] * len(emissions)
        except BotoCoreError as error:
            return [Answer(outcome="failed", reason=str(error))] * len(emissions)
        return [_answer(entry) for entry in reply["Entries"]]

    def _entry(self, emission: Emission) -> dict[str, object]:
        return {
            "EventBusName": self._bus,
            "Source": EVENT_SOURCE,
            "DetailType": emission.type,
            "Detail": emission.data.decode(),
            # EventBridge delivers whole seconds. Rounded up, an event would leave the minute that its producer counts.
            "Time": emission.time.replace(microsecond=0),
        }


def _answer(entry: dict[str, str]) -> Answer:
    """The answer for one entry of PutEvents: the call succeeds even when some of its entries failed."""
    if event_id := entry.get("EventId"):
        return Answer(outcome="accepted", event_id=event_id)
    code = entry.get("ErrorCode", "")
    reason = f"{code}: {entry.get('ErrorMessage', '')}"
    return retryable(reason) if code in _TRANSIENT else Answer(outcome="failed", reason=reason)


def _refused(error: ClientError) -> Answer:
    """The answer for each entry when the whole call failed."""
    reply: dict[str, Any] = error.response
    status = reply.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = reply.get("Error", {}).get("Code", "")
    if is_transient(status) or code in _TRANSIENT:
        return retryable(str(error), maybe_accepted=may_have_been_accepted(status))
    return Answer(outcome="failed", reason=str(error))
