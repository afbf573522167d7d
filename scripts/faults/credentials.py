"""The credentials that the sender presents at each channel, so that authentication is tested while parts fail."""

import json
import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, Self

from standardwebhooks.webhooks import Webhook

from helios.processes.ports import HOST
from local.emulators.issuer import Issuer
from local.stack import credentials
from local.stack.config import WEBHOOK_AUTH

MakeHeaders = Callable[[bytes], Mapping[str, str]]
"""Builds the authentication headers for a body."""

GOOGLE: Final[Mapping[str, str | bool]] = {
    "iss": "https://accounts.google.com",
    "aud": WEBHOOK_AUTH["HELIOS_PUBSUB_AUDIENCE"],
    "email": WEBHOOK_AUTH["HELIOS_PUBSUB_SERVICE_ACCOUNT"],
    "email_verified": True,
}


class Credentials:
    """The demo's secrets and a token issuer. A context manager that serves the issuer's keys while it is open.

    Attributes:
        channels: the channels for which the sender has credentials.
    """

    def __init__(self, keys_port: int | None, secrets: credentials.Credentials) -> None:
        """Build the credentials.

        Args:
            keys_port: the port at which the API fetches Google's keys. None: another server listens there, and
                requests to Pub/Sub's channel carry no token.
            secrets: the secrets of the API's channels.
        """
        self._keys_port = keys_port
        self._issuer = Issuer()
        self._webhook = Webhook(secrets.cloudevents)
        self._headers_for: dict[str, MakeHeaders] = {
            "eventbridge": lambda _: {"x-helios-key": secrets.eventbridge},
            "eventgrid": lambda _: {"x-helios-key": secrets.eventgrid},
            "cloudevents": self._signed,
        }
        if keys_port:
            self._headers_for["pubsub"] = lambda _: {"authorization": f"Bearer {self._issuer.token(GOOGLE)}"}
        self.channels = frozenset(self._headers_for)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if self._keys_port:
            server = self._stack.enter_context(ThreadingHTTPServer((HOST, self._keys_port), _keys(self._issuer)))
            self._stack.callback(server.shutdown)
            threading.Thread(target=server.serve_forever, name="keys", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def headers(self, path: str, body: bytes) -> Mapping[str, str]:
        """The authentication headers for a request to this path; empty where the sender has no credentials."""
        make_headers = self._headers_for.get(path.rpartition("/")[2])
        return make_headers(body) if make_headers else {}

    def _signed(self, body: bytes) -> Mapping[str, str]:
        id_, now = str(uuid.uuid4()), datetime.now(UTC)
        return {
            "webhook-id": id_,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(id_, now, body.decode()),
        }


def _keys(issuer: Issuer) -> type[BaseHTTPRequestHandler]:
    """A handler that returns the issuer's keys."""
    content = json.dumps(issuer.keys).encode()

    class Keys(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    return Keys
