"""Standard Webhooks: lets in what was signed with one of our secrets, not long ago."""

import hmac
import time
from collections.abc import Callable, Sequence

from helios.auth.authenticator import Headers, Refused
from helios.standard_webhooks import ID, SIGNATURE, TIMESTAMP, key_of, sign

TOLERANCE_SECONDS = 300
"""How old, or how far ahead, a signed time may be; a copy that comes back within it is a duplicate to ``ingest``."""


class StandardWebhooks:
    """Lets in bodies that were signed with one of the secrets; two are valid while one is being replaced."""

    reads_body = True
    may_wait = False

    def __init__(self, secrets: Sequence[str], *, now: Callable[[], float] = time.time) -> None:
        """Take the valid secrets, ``whsec_`` and base64.

        Raises:
            ConfigurationError: one is of another form, or too short.
        """
        self._keys = [key_of(secret, variable="HELIOS_CLOUDEVENTS_SECRET") for secret in secrets]
        self._now = now

    def applies(self, headers: Headers) -> bool:
        """Whether there is a signature."""
        return SIGNATURE in headers

    def check(self, headers: Headers, body: bytes) -> None:
        """Check the time first, as a body that is replayed carries a true signature."""
        given = headers.get(TIMESTAMP, "")
        if not (given.isascii() and given.isdecimal() and len(given) < len("10000000000000")):
            raise Refused(f"header {TIMESTAMP} is not a time in seconds", code="malformed")
        if abs(self._now() - int(given)) > TOLERANCE_SECONDS:
            raise Refused(f"header {TIMESTAMP} is more than {TOLERANCE_SECONDS} s away from now", code="replayed")
        wanted = [sign(key, id=headers.get(ID, ""), timestamp=given, body=body).encode() for key in self._keys]
        applies = [signature.encode() for signature in headers.get(SIGNATURE, "").split(" ")]
        fits = [hmac.compare_digest(one, other) for one in wanted for other in applies]
        if not any(fits):
            raise Refused(f"header {SIGNATURE} does not fit this body and a secret of this way in", code="wrong_key")
