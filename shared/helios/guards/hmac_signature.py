"""Standard Webhooks: an HMAC over id, time and body (Standard Webhooks specification 1.0.0)."""

import base64
import binascii
import hmac
import time
from collections.abc import Callable, Sequence

from helios.errors import Misconfigured
from helios.guards.base import Headers, Refused

TOLERANCE_SECONDS = 300
"""How old, or how far ahead, a signed time may be; a copy that comes back within it is a duplicate to ``ingest``."""

PREFIX = "whsec_"
MIN_KEY_BYTES, MAX_KEY_BYTES = 24, 64
"""Section "Symmetric": between 24 and 64 bytes."""

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"


class StandardWebhooks:
    """Lets in bodies that were signed with one of the secrets; two are valid while one is being replaced."""

    reads_body = True
    may_wait = False

    def __init__(self, secrets: Sequence[str], *, now: Callable[[], float] = time.time) -> None:
        """Take the valid secrets, ``whsec_`` and base64.

        Raises:
            Misconfigured: one is of another form, or too short.
        """
        self._keys = [_key(secret) for secret in secrets]
        self._now = now

    def presented(self, headers: Headers) -> bool:
        """Whether there is a signature."""
        return SIGNATURE in headers

    def check(self, headers: Headers, body: bytes) -> None:
        """Check the time first, as a body that is replayed carries a true signature."""
        given = headers.get(TIMESTAMP, "")
        if not (given.isascii() and given.isdecimal() and len(given) < len("10000000000000")):
            raise Refused(f"header {TIMESTAMP} is not a time in seconds", code="malformed")
        if abs(self._now() - int(given)) > TOLERANCE_SECONDS:
            raise Refused(f"header {TIMESTAMP} is more than {TOLERANCE_SECONDS} s away from now", code="replayed")
        signed = b".".join([headers.get(ID, "").encode(), given.encode(), body])
        if not self._signed(signed, headers.get(SIGNATURE, "")):
            raise Refused(f"header {SIGNATURE} does not fit this body and a secret of this way in", code="wrong_key")

    def _signed(self, content: bytes, signatures: str) -> bool:
        wanted = [b"v1," + base64.b64encode(hmac.digest(key, content, "sha256")) for key in self._keys]
        given = [signature.encode() for signature in signatures.split(" ")]
        fits = [hmac.compare_digest(one, other) for one in wanted for other in given]
        return any(fits)


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not (secret.startswith(PREFIX) and MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES):
        raise Misconfigured(
            f"HELIOS_CLOUDEVENTS_SECRET: write {PREFIX} and {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes in base64"
        )
    return key
