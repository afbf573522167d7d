"""A secret header: EventBridge's API destination key, Event Grid's delivery property, and what rings the bell."""

import hmac
from collections.abc import Sequence

from helios.auth.authenticator import Headers, Refused

HEADER = "x-helios-key"
"""The API key name of an EventBridge connection; Event Grid's delivery property has the same.

Amazon EventBridge User Guide, "API key authorization"; Azure Event Grid, "Custom delivery properties".
"""


class SecretHeader:
    """Lets in who knows one of the secrets; two are valid while one is being replaced."""

    reads_body = False
    may_wait = False

    def __init__(self, secrets: Sequence[str], header: str = HEADER) -> None:
        """Take the valid secrets, and the header that carries one; with no secret nobody is let in."""
        self._header = header
        self._secrets = [secret.encode() for secret in secrets]

    def applies(self, headers: Headers) -> bool:
        """Whether the header is there."""
        return self._header in headers

    def check(self, headers: Headers, body: bytes) -> None:  # noqa: ARG002 - the secret says nothing of the body
        """Compare in constant time with each secret, found or not."""
        given = headers.get(self._header, "").encode()
        known = [hmac.compare_digest(given, secret) for secret in self._secrets]
        if not any(known):
            raise Refused(f"header {self._header} is not a secret of this way in", code="wrong_key")
