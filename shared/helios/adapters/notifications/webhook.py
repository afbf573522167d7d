"""Notifies webhooks: Standard Webhooks 1.0.0, and only at addresses that are allowed."""

import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec

from helios.adapters.guarded_http import Endpoint, parsed
from helios.errors import ConfigurationError, Rejected, TargetUnavailable
from helios.model.incidents import Transition
from helios.model.notifications import Message
from helios.standard_webhooks import ID, SIGNATURE, TIMESTAMP, sign

PRIVATE_HINT: Final = "write private = true in the table of the receiver"


class WebhookNotifications:
    """Implements ``NotificationTarget`` with one POST for each message.

    The body has the form that the specification recommends: ``type``, ``timestamp`` and ``data``.
    """

    def __init__(self, url: str, *, private: bool, keys: Sequence[bytes], loopback: bool, field: str) -> None:
        """Check the URL. Nothing is resolved or connected yet.

        Args:
            url: the URL to post to.
            private: whether its host may have an address of a private network.
            keys: the keys that sign each request; more than one during a rotation.
            loopback: whether this machine itself is an allowed target.
            field: the name of the URL for errors.

        Raises:
            ConfigurationError: the URL is malformed, or not https://.
        """
        try:
            parts = parsed(url, field=field)
        except Rejected as error:
            raise ConfigurationError(f"{error.field} {error.reason}") from error
        if parts.scheme == "http" and not (private or loopback):
            raise ConfigurationError(f"{field} is not https://, which only a private host or this machine may omit")
        self._endpoint = Endpoint(parts, private=private, loopback=loopback, field=field, private_hint=PRIVATE_HINT)
        self._keys = keys

    def send(self, message: Message) -> None:
        """Post the message, with its id in ``webhook-id``. Redirects are not followed.

        Raises:
            TargetUnavailable: the webhook does not answer, or with another status than 2xx.
            Rejected: the webhook answers 410: it wants no messages any more.
        """
        body = msgspec.json.encode(payload_of(message))
        try:
            connection = self._endpoint.connection()
        except Rejected as error:
            # Its name may have another address tomorrow.
            raise TargetUnavailable(str(error)) from error
        try:
            answer = self._endpoint.post(connection, body, self._headers(message, body))
        finally:
            connection.close()
        if answer.status == HTTPStatus.GONE:
            raise Rejected("answers 410", field=message.receiver, status=410)
        if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            raise TargetUnavailable(f"the webhook answers {answer.status}", after_seconds=answer.retry_after_seconds)

    def _headers(self, message: Message, body: bytes) -> dict[str, str]:
        timestamp = str(int(time.time()))
        return {
            "Content-Type": "application/json",
            "User-Agent": "helios",
            ID: message.id,
            TIMESTAMP: timestamp,
            SIGNATURE: " ".join(sign(key, id=message.id, timestamp=timestamp, body=body) for key in self._keys),
        }


def payload_of(message: Message) -> dict[str, Any]:
    """The body of a message: that of its transition, a digest of several, or a test."""
    if not message.transitions:
        return {"type": "test", "data": {}}
    if message.is_digest:
        payloads = [_payload(transition) for transition in message.transitions]
        last = message.transitions[-1].at
        return {"type": "incident.digest", "timestamp": last, "data": {"transitions": payloads}}
    return _payload(message.transitions[0])


def _payload(transition: Transition) -> dict[str, Any]:
    data = {"key": transition.key, "incident_key": transition.incident.key, "incident": transition.incident}
    return {"type": f"incident.{transition.what}", "timestamp": transition.at, "data": data}
