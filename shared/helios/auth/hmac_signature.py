"""Standard Webhooks: accepts bodies that were signed recently with one of the shared secrets."""

import hmac
import time
from collections.abc import Callable, Sequence

from helios.auth.authenticator import Headers, Refused
from helios.standard_webhooks import ID, SIGNATURE, TIMESTAMP, key_of, sign

TOLERANCE_SECONDS = 300
"""How far in the past or future the signed time may be. ``ingest`` counts a copy sent within it as a duplicate."""


class StandardWebhooks:
    """Accepts bodies that were signed with one of the secrets. Two are valid during a rotation."""

    reads_body = True
    may_wait = False

    def __init__(self, secrets: Sequence[str], *, now: Callable[[], float] = time.time) -> None:
        """Take the valid secrets, each ``whsec_`` and base64.

        Raises:
            ConfigurationError: a secret has another form, or its key is not of an allowed length.
        """
        self._keys = [key_of(secret, variable="HELIOS_CLOUDEVENTS_SECRET") for secret in secrets]
        self._now = now

    def applies(self, headers: Headers) -> bool:
        """Whether the request has a signature header."""
        return SIGNATURE in headers

    def check(self, headers: Headers, body: bytes) -> bytes:
        """Check the time first, because the signature of a replayed body is valid."""
        timestamp = headers.get(TIMESTAMP, "")
        if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) < len("10000000000000")):
            raise Refused(
                f"Invalid header {TIMESTAMP}. Send the time of signing as Unix time in seconds.", code="malformed"
            )
        if abs(self._now() - int(timestamp)) > TOLERANCE_SECONDS:
            raise Refused(
                f"Header {TIMESTAMP} differs from the current time by more than {TOLERANCE_SECONDS} s. Sign the "
                "request again, and check the sender's clock.",
                code="replayed",
            )
        id_ = headers.get(ID, "")
        if "." in id_:
            raise Refused(
                f"Header {ID} contains a dot, which separates the signed parts. Send an id without dots.",
                code="malformed",
            )
        expected = [sign(key, id=id_, timestamp=timestamp, body=body).encode() for key in self._keys]
        signatures = [signature.encode() for signature in headers.get(SIGNATURE, "").split(" ")]
        matches = [hmac.compare_digest(mac, signature) for mac in expected for signature in signatures]
        if not any(matches):
            raise Refused(
                f"Header {SIGNATURE} does not match the body. Sign {ID}, {TIMESTAMP} and the body with the secret of "
                "this endpoint.",
                code="wrong_key",
            )
        return body
