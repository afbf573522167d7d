"""The OpenID Connect tokens that push requests carry, and the certificates to check them with."""

import base64
import time
import uuid
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from google.auth import crypt, jwt

ISSUER = "https://accounts.google.com"
LIFETIME_SECONDS = 3600
RENEWED_BEFORE_END_SECONDS = 600

_CERTIFICATE_DAYS = 365


class Signer:
    """Signs as Google does, with a key of its own that is made anew with each process.

    Attributes:
        certificates: key id to PEM certificate, as ``https://www.googleapis.com/oauth2/v1/certs`` shows them.
        keys: the same as a JSON Web Key Set, as ``/oauth2/v3/certs`` does.
    """

    def __init__(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        key_id = uuid.uuid4().hex
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self._signer = crypt.RSASigner.from_string(pem, key_id=key_id)  # type: ignore[no-untyped-call]  # no types
        self._tokens: dict[tuple[str, str], tuple[float, str]] = {}
        self.certificates = {key_id: _certificate(key)}
        self.keys = {"keys": [_web_key(key, key_id)]}

    def token(self, *, audience: str, email: str) -> str:
        """A token for this audience in this service account's name; the same one until it nears its end."""
        now = time.time()
        ends, token = self._tokens.get((audience, email), (0.0, ""))
        if ends - now > RENEWED_BEFORE_END_SECONDS:
            return token
        ends = now + LIFETIME_SECONDS
        claims = {
            "iss": ISSUER,
            "aud": audience,
            "azp": email,
            "sub": "113774264463038321964",
            "email": email,
            "email_verified": True,
            "iat": int(now),
            "exp": int(ends),
        }
        token = str(jwt.encode(self._signer, claims), "ascii")  # type: ignore[no-untyped-call]  # it has no types
        self._tokens[audience, email] = (ends, token)
        return token


def _certificate(key: rsa.RSAPrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "helios local Pub/Sub")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=_CERTIFICATE_DAYS))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _web_key(key: rsa.RSAPrivateKey, key_id: str) -> dict[str, str]:
    """RFC 7518, section 6.3.1."""
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
