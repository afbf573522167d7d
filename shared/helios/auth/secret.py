"""A secret header: the API key of EventBridge, the delivery property of Event Grid, and the secret of notifiers."""

import hmac
from collections.abc import Sequence

from helios.auth.authenticator import Headers, Refused

HEADER = "x-helios-key"
"""The API key name of an EventBridge connection. The delivery property of Event Grid has the same name.

Amazon EventBridge User Guide, "API key authorization"; Azure Event Grid, "Custom delivery properties".
"""


class SecretHeader:
    """Accepts requests that carry one of the secrets. Two are valid during a rotation."""

    reads_body = False
    may_wait = False

    def __init__(self, secrets: Sequence[str], header: str = HEADER) -> None:
        """Take the valid secrets, and the header that carries one. Without a secret, every request is refused."""
        self._header = header
        self._secrets = [secret.encode() for secret in secrets]

    def applies(self, headers: Headers) -> bool:
        """Whether the request has the header."""
        return self._header in headers

    def check(self, headers: Headers, body: bytes) -> bytes:
        """Compare the header with every secret, in constant time."""
        value = headers.get(self._header, "").encode()
        matches = [hmac.compare_digest(value, secret) for secret in self._secrets]
        if not any(matches):
            raise Refused(f"Wrong secret in header {self._header}. Send the secret of this endpoint.", code="wrong_key")
        return body
