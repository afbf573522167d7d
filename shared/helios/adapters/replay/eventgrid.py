"""Sends stored events back to Azure Event Grid. Imported only if a topic is configured."""

from collections.abc import Iterator, Sequence
from http import HTTPStatus

import msgspec
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import AzureError, HttpResponseError
from azure.eventgrid import EventGridPublisherClient

from helios.errors import Rejected, TargetUnavailable
from helios.model.events import Event
from helios.model.replay import SENT, Replayed, ReplayJob
from helios.normalise.replay_marks import mark


class EventGridTarget:
    """Implements ``ReplayTarget`` on a basic topic with the Event Grid schema, in which events keep their ids."""

    batch = 50
    """Far below the 1 MB that Event Grid accepts in a request, unless the events are large."""

    def __init__(self, url: str, key: str) -> None:
        """Build a publisher. The client posts to exactly this URL.

        Raises:
            Rejected: the URL does not begin with https:// or http://.
        """
        if not url.startswith(("https://", "http://")):
            raise Rejected("azure: the topic in HELIOS_REPLAY_TOPICS is not an https:// URL", field="target.cloud")
        self._client = EventGridPublisherClient(url, AzureKeyCredential(key))

    def send(self, job: ReplayJob, events: Sequence[Event]) -> Iterator[Replayed]:
        """Publish the events in one request, which Event Grid accepts or refuses as a whole; if refused, one by one."""
        try:
            self._publish(job, events)
        except Rejected as fault:
            if len(events) == 1:
                yield Replayed("failed", f"{events[0].source}/{events[0].id}: {fault.reason}")
                return
            for event in events:
                yield from self.send(job, [event])
            return
        yield from [SENT] * len(events)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _publish(self, job: ReplayJob, events: Sequence[Event]) -> None:
        try:
            # retry_total: the worker retries, and reports that it does. The constructor would ignore this parameter.
            self._client.send([_as_sent(event, job.id) for event in events], retry_total=0)
        except HttpResponseError as error:
            status = error.status_code or 0
            reason = f"Event Grid answers {status}: {error.reason}"
            if status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS} or status >= 500:  # noqa: PLR2004 - 5xx
                raise TargetUnavailable(reason) from error
            raise Rejected(reason, field="body") from error
        except AzureError as error:
            raise TargetUnavailable(f"Event Grid: {error}") from error


def _as_sent(event: Event, job: int) -> dict[str, object]:
    """The event in the Event Grid schema. Only its dataVersion has room for the mark of a replay job."""
    return {
        "id": event.id,
        "subject": event.subject or "",
        "eventType": event.type,
        "eventTime": event.time.isoformat().replace("+00:00", "Z"),
        "data": msgspec.json.decode(event.data),
        "dataVersion": mark(job, event),
    }
