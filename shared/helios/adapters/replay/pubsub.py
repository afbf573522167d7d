"""Sends stored events back to Google Cloud Pub/Sub. Imported only if a topic is configured."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any

from google.api_core import exceptions
from google.api_core.retry import Retry
from google.auth.exceptions import GoogleAuthError
from google.cloud import pubsub_v1

from helios.adapters.cloudevents import replayed_attributes
from helios.adapters.extensions import extensions
from helios.errors import Rejected, TargetUnavailable
from helios.model.events import Event
from helios.model.replay import SENT, Replayed, ReplayJob

SECONDS = 10.0

MAX_ATTRIBUTES = 100
MAX_ATTRIBUTE_BYTES = 1024
"""The limits of a message's attributes and of their values (Pub/Sub documentation, "Quotas and limits")."""

_PERMANENT = (exceptions.InvalidArgument, exceptions.NotFound, exceptions.PermissionDenied, exceptions.Unauthenticated)
"""Errors that a retry does not fix."""


class PubSubTarget:
    """Implements ``ReplayTarget`` with messages that carry the event's attributes, in CloudEvents' Pub/Sub binding."""

    batch = 100

    def __init__(self, topic: str) -> None:
        """Build a publisher for a topic, as ``projects/PROJECT/topics/TOPIC``.

        Raises:
            Rejected: the library finds no credentials.
        """
        try:
            self._client: Any = pubsub_v1.PublisherClient(
                # The worker retries, and reports it. The library's own retries would hide ten minutes of outage.
                publisher_options=pubsub_v1.types.PublisherOptions(
                    retry=Retry(predicate=lambda _: False), timeout=SECONDS
                )
            )
        except GoogleAuthError as error:
            raise Rejected(f"gcp: {error}", field="target.cloud") from error
        self._topic = topic

    def send(self, job: ReplayJob, events: Sequence[Event]) -> Iterator[Replayed]:
        """Publish all events, then wait for each result. The library batches them, and one can fail a whole request."""
        published = [self._publish(job, event) for event in events]
        for number, future in enumerate(published):
            result = _result(events[number], future)
            if result.state == "failed" and len(events) > 1:
                for event in events[number:]:
                    yield from self.send(job, [event])
                return
            yield result

    def close(self) -> None:
        """Close the channel."""
        self._client.stop()
        self._client.transport.close()

    def _publish(self, job: ReplayJob, event: Event) -> "Future[str]":
        attributes = message_attributes(event, job.id)
        published: Future[str] = self._client.publish(self._topic, bytes(event.data), **attributes)
        return published


def message_attributes(event: Event, job: int) -> dict[str, str]:
    """The attributes of an event's message, without extensions that a message can't have."""
    values = replayed_attributes(event, job)
    forwarded = extensions(event.attributes)
    room = MAX_ATTRIBUTES - len(values.keys() - forwarded.keys())
    kept = [name for name, value in forwarded.items() if len(value.encode()) <= MAX_ATTRIBUTE_BYTES][:room]
    return {f"ce-{name}": value for name, value in values.items() if name not in forwarded or name in kept}


def _result(event: Event, future: "Future[str]") -> Replayed:
    try:
        # Twice the library's own limit: an error that the library doesn't translate leaves the future pending.
        future.result(2 * SECONDS)
    except _PERMANENT as error:
        return Replayed("failed", f"{event.source}/{event.id}: Pub/Sub: {error}")
    except (exceptions.GoogleAPIError, GoogleAuthError, TimeoutError) as error:
        raise TargetUnavailable(f"Pub/Sub: {error or 'no answer'}") from error
    return SENT
