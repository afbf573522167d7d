"""Publishes messages to a Pub/Sub topic, through google-cloud-pubsub."""

import asyncio
from collections.abc import Sequence
from typing import Final

from google.api_core import exceptions
from google.api_core.retry import Retry
from google.auth.exceptions import GoogleAuthError
from google.cloud import pubsub_v1

from helios.errors import ConfigurationError

from .answers import Answer, try_again
from .envelopes import cloudevent_attributes
from .plan import Emission

PUBLISH_TIMEOUT_S: Final = 10.0

_NOT_TAKEN: Final = (
    exceptions.Aborted,
    exceptions.NotFound,  # an emulator that was restarted has forgotten its topics until they are made again
    exceptions.ResourceExhausted,
)
_MAYBE_TAKEN: Final = (
    exceptions.DeadlineExceeded,
    exceptions.InternalServerError,
    exceptions.RetryError,
    exceptions.ServiceUnavailable,  # also when the connection broke before the answer
    exceptions.Unknown,
)
"""Both may pass."""


class PubSub:
    """A Publisher for one topic. The library finds the emulator (PUBSUB_EMULATOR_HOST) and batches by itself."""

    batch = 100
    concurrency = 4

    def __init__(self, *, topic: str) -> None:
        """Build a publisher for a topic, as ``projects/PROJECT/topics/TOPIC``.

        Raises:
            ConfigurationError: the library finds no credentials.
        """
        try:
            self._client = pubsub_v1.PublisherClient(
                # The lane sends again, and shows that it does: the library's own retries hide ten minutes of outage.
                publisher_options=pubsub_v1.types.PublisherOptions(
                    retry=Retry(predicate=lambda _: False), timeout=PUBLISH_TIMEOUT_S
                )
            )
        except GoogleAuthError as error:
            raise ConfigurationError(f"GOOGLE_APPLICATION_CREDENTIALS: {error}") from error
        self._topic = topic

    async def publish(self, emissions: Sequence[Emission]) -> list[Answer]:
        """Publish each event as one message; Pub/Sub may take some and not others."""
        return await asyncio.gather(*(self._publish(emission) for emission in emissions))

    async def close(self) -> None:
        """Close the channel; nothing is left to be sent when the lanes are done."""
        self._client.stop()
        self._client.transport.close()

    async def _publish(self, emission: Emission) -> Answer:
        try:
            future = self._client.publish(self._topic, emission.data, **cloudevent_attributes(emission))
            # Twice the library's own limit: an error that it doesn't translate would leave the future open.
            await asyncio.wait_for(asyncio.wrap_future(future), 2 * PUBLISH_TIMEOUT_S)
        except _NOT_TAKEN as error:
            return try_again(str(error))
        except _MAYBE_TAKEN as error:
            return try_again(str(error), maybe_taken=True)
        except TimeoutError:
            return try_again(f"no answer within {2 * PUBLISH_TIMEOUT_S:.0f} s", maybe_taken=True)
        except (exceptions.GoogleAPIError, GoogleAuthError) as error:
            return Answer(outcome="failed", reason=str(error))
        return Answer(outcome="accepted")
