"""The issuer of tokens on this machine: each process generates a key, and publishes it as a JSON Web Key Set."""

import base64
import time
import uuid
from collections.abc import Mapping

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import crypt, jwt

LIFETIME_SECONDS = 3600
RENEWED_BEFORE_END_SECONDS = 600


class Issuer:
    """Signs with RS256, as Google and Microsoft Entra do.

    Attributes:
        key: the private key.
        key_id: the key's id.
        keys: the public key as a JSON Web Key Set (RFC 7517).
    """

    def __init__(self) -> None:
        """Generate the key."""
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.key_id = uuid.uuid4().hex
        self.keys = {"keys": [_web_key(self.key, self.key_id)]}
        pem = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self._signer = crypt.RSASigner.from_string(pem, key_id=self.key_id)  # type: ignore[no-untyped-call]  # no types
        self._tokens: dict[tuple[tuple[str, str | bool], ...], tuple[float, str]] = {}

    def token(self, claims: Mapping[str, str | bool]) -> str:
        """A token with these claims, ``iat`` and ``exp``; the same token is returned until it nears its expiry."""
        now = time.time()
        cache_key = tuple(sorted(claims.items()))
        expiry, token = self._tokens.get(cache_key, (0.0, ""))
        if expiry - now > RENEWED_BEFORE_END_SECONDS:
            return token
        expiry = now + LIFETIME_SECONDS
        times = {"iat": int(now), "exp": int(expiry)}
        token = str(jwt.encode(self._signer, {**claims, **times}), "ascii")  # type: ignore[no-untyped-call]  # no types
        self._tokens[cache_key] = (expiry, token)
        return token


def _web_key(key: rsa.RSAPrivateKey, key_id: str) -> dict[str, str]:
    """The public key in the form of RFC 7518, section 6.3.1."""
    public = key.public_key().public_numbers()
    return {
        "kty": "RSA",
        "alg": "RS256",
        "use": "sig",
        "kid": key_id,
        "n": _base64url(public.n),
        "e": _base64url(public.e),
    }


def _base64url(number: int) -> str:
    content = number.to_bytes((number.bit_length() + 7) // 8)
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
