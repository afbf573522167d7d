"""A proxy between the AWS emulator's SNS, which signs nothing, and an endpoint: it signs each message as Amazon does.

Amazon SNS Developer Guide, "Verifying the signatures of Amazon SNS messages". The certificate's URL is on Amazon's own
host, as authenticators accept no other. This server serves the certificate; Helios' settings name it as a mirror of
that host.
"""

import base64
import hmac
import http.client
import json
import logging
import secrets
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from helios.processes.ports import HOST
from local.emulators.certificate import self_signed
from local.stack.config import AWS_REGION
from local.stack.request_filter import LOOPBACK_ONLY

log = logging.getLogger("helios.local.canary")

Confirm = Callable[[str, str], None]
"""Confirms a subscription, given the topic's ARN and the token that SNS sent to the endpoint."""

TYPE_HEADER = "x-amz-sns-message-type"
SIGNED = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
"""The fields of a notification that its signature covers, in this order."""

_ANSWER_SECONDS = 20


class MessageSigner:
    """Signs SNS notifications, signature version 2, with a key of its own.

    Attributes:
        certificate: the certificate of that key, PEM.
        path: the path of the certificate on Amazon's host.
    """

    def __init__(self) -> None:
        """Generate the key."""
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.certificate = self_signed(self._key, "helios local SNS").encode()
        digest = hashes.Hash(hashes.SHA256())
        digest.update(self.certificate)
        self.path = f"/SimpleNotificationService-{digest.finalize().hex()[:32]}.pem"

    def sign(self, message: dict[str, Any]) -> dict[str, Any]:
        """The notification with its signature."""
        text = "".join(f"{name}\n{message[name]}\n" for name in SIGNED if message.get(name))
        signature = self._key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return message | {
            "SignatureVersion": "2",
            "Signature": base64.b64encode(signature).decode(),
            "SigningCertURL": f"https://sns.{AWS_REGION}.amazonaws.com{self.path}",
        }


class Server(ThreadingHTTPServer):
    """The HTTP server: one path for the emulator, the certificate for Helios, ``/healthz`` for the supervisor.

    The signature lets a message pass the API's authenticator, so the server signs only what the emulated SNS sends. It
    recognises SNS by its path, which is random and which only the subscription names.

    Attributes:
        path: the path of the endpoint that is subscribed.
        ready: whether ``/healthz`` answers 200.
        signer: signs the forwarded notifications.
    """

    daemon_threads = True
    ready = False

    def __init__(self, port: int, *, endpoint_url: str, confirm: Confirm) -> None:
        """Listen on loopback.

        Args:
            port: the port; 0 for any free port.
            endpoint_url: the URL that notifications are forwarded to.
            confirm: confirms the subscription of the endpoint.
        """
        super().__init__((HOST, port), _Handler)
        self.signer = MessageSigner()
        self.path = f"/sns/{secrets.token_urlsafe()}"
        self.endpoint_url = endpoint_url
        self.confirm = confirm


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if refusal := self._refusal():
            self._answer(HTTPStatus.FORBIDDEN, refusal)
        elif self.path == "/healthz":
            self._answer(HTTPStatus.OK if self.server.ready else HTTPStatus.SERVICE_UNAVAILABLE)
        elif self.path == self.server.signer.path:
            self._answer(HTTPStatus.OK, self.server.signer.certificate)
        else:
            self._answer(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        refusal = self._refusal()
        if refusal is None and not hmac.compare_digest(self.path.encode(), self.server.path.encode()):
            refusal = b"This is not the path of the subscribed endpoint."
        if refusal:
            self._answer(HTTPStatus.FORBIDDEN, refusal)
            return
        message = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)))
        if message["Type"] == "SubscriptionConfirmation":
            self._answer(HTTPStatus.OK)
            self.server.confirm(message["TopicArn"], message["Token"])
        else:
            self._answer(self._forward(json.dumps(self.server.signer.sign(message)).encode()))

    def _refusal(self) -> bytes | None:
        """Why a web page may not have sent this request; None for other senders."""
        headers = [(name.lower(), value) for name, value in self.headers.items()]
        reason = LOOPBACK_ONLY.refusal(self.command, headers)
        return reason.encode() if reason else None

    def _forward(self, body: bytes) -> int:
        parts = urlsplit(self.server.endpoint_url)
        headers = {TYPE_HEADER: "Notification", "content-type": "text/plain; charset=UTF-8"}
        connection = http.client.HTTPConnection(parts.netloc, timeout=_ANSWER_SECONDS)
        try:
            connection.request("POST", parts.path, body, headers)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            log.warning("endpoint not reachable", extra={"error": str(error)})
            return HTTPStatus.BAD_GATEWAY
        finally:
            connection.close()

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log no requests: the canary logs the outcome of each round."""
