"""Signatures that are made with a shared secret: one authenticator for every scheme, which is data."""

import base64
import binascii
import hmac
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from helios.auth.authenticator import Headers, Refused
from helios.errors import ConfigurationError
from helios.model.sources import Hmac
from helios.standard_webhooks import key_of

_VARIABLE: Final = re.compile(r"\{([^{}]*)\}")
_BODY: Final = "body"
_MAX_TIMESTAMP_CHARS: Final = 13

MAX_SIGNATURES: Final = 32
"""How many signatures of one header are compared: a sender that rotates its keys sends two."""


class HmacSignature:
    """Accepts bodies that were signed with one of the secrets. Two or more are valid during a rotation."""

    reads_body = True
    may_wait = False

    def __init__(
        self, scheme: Hmac, secrets: Sequence[str], *, variable: str, now: Callable[[], float] = time.time
    ) -> None:
        """Take the scheme and the valid secrets.

        Args:
            scheme: the form of the signature.
            secrets: the secrets.
            variable: the setting that holds the secrets, for errors.
            now: the current Unix time.

        Raises:
            ConfigurationError: a secret does not have the form that the scheme requires.
        """
        self._scheme = scheme
        self._keys = [_key(scheme, secret, variable) for secret in secrets]
        self._now = now
        # Texts and variables in turn.
        self._template = _VARIABLE.split(scheme.signed)

    def applies(self, headers: Headers) -> bool:
        """Whether the request has a signature header."""
        return self._scheme.header in headers

    def check(self, headers: Headers, body: bytes) -> bytes:
        """Check the time first, because the signature of a replayed body is valid."""
        pairs = self._pairs(headers)
        if self._scheme.timestamp:
            self._check_time(_value(self._scheme.timestamp, headers, pairs), self._scheme.timestamp)
        message = self._message(headers, pairs, body)
        expected = [self._sign(key, message) for key in self._keys]
        matches = [hmac.compare_digest(mac, given) for given in self._given(headers) for mac in expected]
        if not any(matches):
            raise Refused(
                f"Header {self._scheme.header} does not match {_signed_parts(self._template)}. Sign with the secret of "
                "this endpoint.",
                code="wrong_key",
            )
        return body

    def _check_time(self, text: str, name: str) -> None:
        if not (text.isascii() and text.isdecimal() and len(text) < _MAX_TIMESTAMP_CHARS):
            raise Refused(
                f"Invalid {_in_words(name)}. Send the time of signing as Unix time in seconds.", code="malformed"
            )
        if abs(self._now() - int(text)) > self._scheme.tolerance_seconds:
            raise Refused(
                f"{_in_words(name).capitalize()} differs from the current time by more than "
                f"{self._scheme.tolerance_seconds} s. Sign the request again, and check the sender's clock.",
                code="replayed",
            )

    def _message(self, headers: Headers, pairs: Mapping[str, str], body: bytes) -> bytes:
        """What must have been signed.

        Raises:
            Refused: a value contains the text that separates the signed parts: the same bytes could then be read as
                other values.
        """
        parts = []
        for number, text in enumerate(self._template):
            if number % 2 == 0:
                parts.append(text.encode())
            elif text == _BODY:
                parts.append(body)
            else:
                value = _value(text, headers, pairs)
                if any(between and between in value for between in self._template[0::2]):
                    raise Refused(
                        f"{_in_words(text).capitalize()} contains a separator of the signed parts. Send it without "
                        f"{' or '.join(sorted({repr(each) for each in self._template[0::2] if each}))}.",
                        code="malformed",
                    )
                parts.append(value.encode())
        return b"".join(parts)

    def _given(self, headers: Headers) -> list[bytes]:
        """The signatures in the header."""
        prefix = self._scheme.prefix
        parts = [part.strip() for part in self._parts(headers)]
        given = [part.removeprefix(prefix) for part in parts if part.startswith(prefix)][:MAX_SIGNATURES]
        return [(text.lower() if self._scheme.encoding == "hex" else text).encode() for text in given]

    def _pairs(self, headers: Headers) -> dict[str, str]:
        """The ``name=value`` pairs in the header."""
        pairs = (part.strip().partition("=") for part in self._parts(headers))
        return {name: value for name, separator, value in reversed(list(pairs)) if separator}

    def _parts(self, headers: Headers) -> list[str]:
        value = headers.get(self._scheme.header, "")
        return value.split(self._scheme.separator) if self._scheme.separator else [value]

    def _sign(self, key: bytes, message: bytes) -> bytes:
        digest = hmac.digest(key, message, self._scheme.algorithm)
        return digest.hex().encode() if self._scheme.encoding == "hex" else base64.b64encode(digest)


def _key(scheme: Hmac, secret: str, variable: str) -> bytes:
    if scheme.key == "whsec":
        return key_of(secret, variable=variable)
    if scheme.key == "text":
        return secret.encode()
    try:
        return base64.b64decode(secret, validate=True)
    except binascii.Error as error:
        raise ConfigurationError(f"{variable}: expected a secret in base64") from error


def _value(variable: str, headers: Headers, pairs: Mapping[str, str]) -> str:
    """The value of a header, or of a pair in the signature header; empty if it is absent."""
    _, dot, name = variable.partition(".")
    return pairs.get(name, "") if dot else headers.get(variable, "")


def _in_words(variable: str) -> str:
    header, dot, name = variable.partition(".")
    return f"{name} in header {header}" if dot else f"header {header}"


def _signed_parts(template: Sequence[str]) -> str:
    """The signed parts as a list in words."""
    names = ["the body" if name == _BODY else _in_words(name) for name in template[1::2]]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
