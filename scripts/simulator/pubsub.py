"""Publishes messages to a Pub/Sub topic with google-cloud-pubsub."""

import asyncio
from collections.abc import Sequence
from typing import Final

from google.api_core import exceptions
from google.api_core.retry import Retry
from google.auth.exceptions import GoogleAuthError
from google.cloud import pubsub_v1

from helios.errors import ConfigurationError

from .answers import Answer, retryable
from .envelopes import cloudevent_attributes
from .plan import Emission

PUBLISH_TIMEOUT_S: Final = 10.0

_NOT_ACCEPTED: Final = (
    exceptions.Aborted,
    exceptions.NotFound,  # a restarted emulator has no topics until they are created again
    exceptions.ResourceExhausted,
)
_MAYBE_ACCEPTED: Final = (
    exceptions.DeadlineExceeded,
    exceptions.InternalServerError,
    exceptions.RetryError,
    exceptions.ServiceUnavailable,  # also when the connection broke before the answer
    exceptions.Unknown,
)
"""Errors after which the message may have been accepted. Both groups are temporary failures."""


class PubSub:
    """A Publisher for one topic. The library finds the emulator (PUBSUB_EMULATOR_HOST) and forms the batches."""

    batch = 100
    concurrency = 4

    def __init__(self, *, topic: str) -> None:
        """Build a publisher for a topic, as ``projects/PROJECT/topics/TOPIC``.

        Raises:
            ConfigurationError: the library finds no credentials.
        """
        try:
            self._client = pubsub_v1.PublisherClient(
                # The queue retries and reports each retry; the library's own retries hide ten minutes of outage.
                publisher_options=pubsub_v1.types.PublisherOptions(
                    retry=Retry(predicate=lambda _: False), timeout=PUBLISH_TIMEOUT_S
                )
            )
        except GoogleAuthError as error:
            raise ConfigurationError(f"GOOGLE_APPLICATION_CREDENTIALS: {error}") from error
        self._topic = topic

    async def publish(self, emissions: Sequence[Emission]) -> list[Answer]:
        """Publish each event as one message; Pub/Sub may accept some and refuse others."""
        return await asyncio.gather(*(self._publish(emission) for emission in emissions))

    async def close(self) -> None:
        """Close the channel; the queues have sent everything before."""
        self._client.stop()
        self._client.transport.close()

    async def _publish(self, emission: Emission) -> Answer:
        try:
            future = self._client.publish(self._topic, emission.data, **cloudevent_attributes(emission))
            # Twice the library's own limit: an error that the library doesn't handle would never resolve the future.
            await asyncio.wait_for(asyncio.wrap_future(future), 2 * PUBLISH_TIMEOUT_S)
        except _NOT_ACCEPTED as error:
            return retryable(str(error))
        except _MAYBE_ACCEPTED as error:
            return retryable(str(error), maybe_accepted=True)
        except TimeoutError:
            return retryable(f"no answer within {2 * PUBLISH_TIMEOUT_S:.0f} s", maybe_accepted=True)
        except (exceptions.GoogleAPIError, GoogleAuthError) as error:
            return Answer(outcome="failed", reason=str(error))
        return Answer(outcome="accepted")
