"""Secrets and signatures of Standard Webhooks: an HMAC over id, time and body (specification 1.0.0)."""

import base64
import binascii
import hmac

from helios.errors import ConfigurationError

PREFIX = "whsec_"
MIN_KEY_BYTES, MAX_KEY_BYTES = 24, 64
"""Standard Webhooks specification, section "Symmetric": between 24 and 64 bytes."""

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"


def key_of(secret: str, *, variable: str) -> bytes:
    """The key in a secret.

    Raises:
        ConfigurationError: the secret has the wrong form or length; the message names the variable.
    """
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not (secret.startswith(PREFIX) and MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES):
        raise ConfigurationError(
            f"{variable}: expected {PREFIX} followed by {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes in base64"
        )
    return key


def sign(key: bytes, *, id: str, timestamp: str, body: bytes) -> str:  # noqa: A002 - the specification's word
    """One signature, in the form of the ``webhook-signature`` header, which can hold several."""
    content = b".".join([id.encode(), timestamp.encode(), body])
    return f"v1,{base64.b64encode(hmac.digest(key, content, 'sha256')).decode()}"
