"""Sends stored events to a webhook: signed CloudEvents in structured mode, and only to allowed addresses.

The body carries every attribute, so the signature covers all of them. In binary mode it would cover the payload alone.
"""

import hashlib
import time
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Final

import msgspec

from helios.adapters.cloudevents import replayed_attributes
from helios.adapters.extensions import content_type
from helios.adapters.guarded_http import Endpoint, Host, PinnedConnection, parsed, port_of
from helios.errors import Rejected, TargetUnavailable
from helios.model.events import Event
from helios.model.replay import SENT, Replayed, ReplayJob
from helios.standard_webhooks import ID, SIGNATURE, TIMESTAMP, sign

FIELD: Final = "target.url"
PRIVATE_HINT: Final = "write private: before the host in HELIOS_REPLAY_HOSTS"


class WebhookTarget:
    """Implements ``ReplayTarget`` with one POST for each event, on a connection to an address that was checked."""

    batch = 10

    def __init__(self, url: str, *, hosts: Sequence[Host], keys: Sequence[bytes], loopback: bool) -> None:
        """Check the URL. Nothing is resolved or connected yet.

        Args:
            url: the URL to post to.
            hosts: the allowed hosts.
            keys: the keys that sign each request; more than one during a rotation.
            loopback: whether this machine itself is an allowed target.

        Raises:
            Rejected: the URL is malformed, or its host is not allowed.
        """
        parts = parsed(url, field=FIELD)
        name = (parts.hostname or "").lower()
        entries = [host for host in hosts if host.name == name]
        if not entries:
            raise Rejected(f"has the host {name}, which is not in HELIOS_REPLAY_HOSTS", field=FIELD)
        port = port_of(parts)
        host = next((host for host in entries if host.port in {None, port}), None)
        if parts.scheme == "http" and not ((host or entries[0]).may_be_private or loopback):
            raise Rejected("is not https://, which only a private host or this machine may omit", field=FIELD)
        if host is None:
            raise Rejected(f"has the port {port}: write {name}:{port} in HELIOS_REPLAY_HOSTS", field=FIELD)
        self._keys = keys
        self._endpoint = Endpoint(
            parts, private=host.may_be_private, loopback=loopback, field=FIELD, private_hint=PRIVATE_HINT
        )

    def send(self, job: ReplayJob, events: Sequence[Event]) -> Iterator[Replayed]:
        """Post the events in turn, each after the response to the one before. Redirects are not followed."""
        connection = self._endpoint.connection()
        try:
            for event in events:
                yield self._post(connection, job, event)
        finally:
            connection.close()

    def close(self) -> None:
        """Do nothing: ``send`` closes its connection after each batch."""

    def _post(self, connection: PinnedConnection, job: ReplayJob, event: Event) -> Replayed:
        body = msgspec.json.encode(
            replayed_attributes(event, job.id) | {"datacontenttype": content_type(event.attributes), "data": event.data}
        )
        answer = self._endpoint.post(connection, body, self._headers(job, event, body))
        status = answer.status
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return SENT
        if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise TargetUnavailable(f"the webhook answers {status}", after_seconds=answer.retry_after_seconds)
        return Replayed("failed", f"{event.source}/{event.id}: the webhook answers {status}")

    def _headers(self, job: ReplayJob, event: Event, body: bytes) -> dict[str, str]:
        """The headers. A job repeats an event with the same webhook-id, so that the receiver can detect duplicates."""
        name = hashlib.sha256(msgspec.json.encode((job.id, event.key))).hexdigest()[:32]
        id_, timestamp = f"replay_{name}", str(int(time.time()))
        return {
            "Content-Type": "application/cloudevents+json; charset=utf-8",
            "User-Agent": "helios",
            "helios-replay": str(job.id),
            ID: id_,
            TIMESTAMP: timestamp,
            SIGNATURE: " ".join(sign(key, id=id_, timestamp=timestamp, body=body) for key in self._keys),
        }
