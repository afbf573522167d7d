"""What a sender shows at each way in, so that the guards are at work while things fail."""

import json
import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, Self

from standardwebhooks.webhooks import Webhook

from local.emulators.issuer import Issuer
from local.stack.config import WEBHOOK_AUTH
from local.stack.ports import HOST

Proof = Callable[[bytes], Mapping[str, str]]
"""The headers that go with a body."""

GOOGLE: Final[Mapping[str, str | bool]] = {
    "iss": "https://accounts.google.com",
    "aud": WEBHOOK_AUTH["HELIOS_PUBSUB_AUDIENCE"],
    "email": WEBHOOK_AUTH["HELIOS_PUBSUB_SERVICE_ACCOUNT"],
    "email_verified": True,
}


class Proofs:
    """The demo's secrets, and an issuer of its own; a context manager, in which the issuer's keys can be had.

    Attributes:
        channels: those whose guard is shown a proof.
    """

    def __init__(self, keys_port: int | None) -> None:
        """Take where the API asks for Google's keys; None: somebody else is asked there, and no token is shown."""
        self._keys_port = keys_port
        self._issuer = Issuer()
        self._webhook = Webhook(WEBHOOK_AUTH["HELIOS_CLOUDEVENTS_SECRET"])
        self._proofs: dict[str, Proof] = {
            "eventbridge": lambda _: {"x-helios-key": WEBHOOK_AUTH["HELIOS_EVENTBRIDGE_SECRET"]},
            "eventgrid": lambda _: {"x-helios-key": WEBHOOK_AUTH["HELIOS_EVENTGRID_SECRET"]},
            "cloudevents": self._signed,
        }
        if keys_port:
            self._proofs["pubsub"] = lambda _: {"authorization": f"Bearer {self._issuer.token(GOOGLE)}"}
        self.channels = frozenset(self._proofs)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if self._keys_port:
            server = self._stack.enter_context(ThreadingHTTPServer((HOST, self._keys_port), _keys(self._issuer)))
            self._stack.callback(server.shutdown)
            threading.Thread(target=server.serve_forever, name="keys", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def of(self, path: str, body: bytes) -> Mapping[str, str]:
        """What a request to this path is to carry besides."""
        proof = self._proofs.get(path.rpartition("/")[2])
        return proof(body) if proof else {}

    def _signed(self, body: bytes) -> Mapping[str, str]:
        id_, now = str(uuid.uuid4()), datetime.now(UTC)
        return {
            "webhook-id": id_,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(id_, now, body.decode()),
        }


def _keys(issuer: Issuer) -> type[BaseHTTPRequestHandler]:
    """Shows the issuer's keys to whoever asks."""
    content = json.dumps(issuer.keys).encode()

    class Keys(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Keys
