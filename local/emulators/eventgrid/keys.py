"""The authorization of publishers: a topic's key in ``aeg-sas-key``, or a signature with it in ``aeg-sas-token``."""

import base64
import binascii
import contextlib
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import unquote, unquote_plus, urlsplit

from local.emulators.eventgrid.errors import Refused
from local.emulators.eventgrid.topic import Topic

KEY_HEADER = "aeg-sas-key"
TOKEN_HEADER = "aeg-sas-token"  # noqa: S105 - a header's name

_EXPIRY_FORMS = ("%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M:%S %p %z")
"""A token's expiry in American form, with or without leading zeros: ``11/28/2026 4:31:4 PM`` of the SDKs for Java and
JavaScript and of Microsoft's samples, ``11/28/2026 4:31:04 PM +00:00`` of the SDK for .NET. The SDK for Python writes
ISO 8601."""


def authorize(headers: Mapping[str, str], topic: Topic) -> None:
    """Return if these headers allow publishing to the topic.

    The rules are those of Microsoft's "Authenticate publishing clients using access keys or SAS tokens".

    Raises:
        Refused: 401, they do not allow it.
    """
    key, token = headers.get(KEY_HEADER), headers.get(TOKEN_HEADER)
    if key is None and token is None:
        raise _unauthorized(
            f"Request must contain one of the following authorization signature: {TOKEN_HEADER}, {KEY_HEADER}."
        )
    keys = (topic.key1, topic.key2)
    if key is not None:
        if not any(hmac.compare_digest(key.encode(), expected.encode()) for expected in keys):
            raise _unauthorized(f"The request authorization key is not authorized for {topic.name.upper()}.")
        return
    _check_token(token or "", keys, topic)


def _check_token(token: str, keys: tuple[str, ...], topic: Topic) -> None:
    """Check ``r=<resource>&e=<expiry>&s=<signature>``; the signature covers the text before ``&s=``.

    The SDKs for Java and .NET encode the values as a form does, with ``+`` for a space. A signature is Base64, which
    has no spaces: a ``+`` in it is itself, as it is in a token that was not encoded.
    """
    signed, _, _ = token.partition("&s=")
    fields = {name: value for name, _, value in (part.partition("=") for part in token.split("&"))}
    if not all(fields.get(name) for name in ("r", "e", "s")):
        raise _unauthorized(f"The {TOKEN_HEADER} must have the form r=<resource>&e=<expiration>&s=<signature>.")
    signature, resource = unquote(fields["s"]).encode(), unquote_plus(fields["r"])
    if not any(hmac.compare_digest(signature, _signature(signed, key)) for key in keys):
        raise _unauthorized(f"The {TOKEN_HEADER} is not authorized for {topic.name.upper()}: its signature is wrong.")
    if not urlsplit(resource).path.lower().startswith(topic.path.lower()):
        raise _unauthorized(f"The {TOKEN_HEADER} is for another resource: {resource}.")
    if _expiry(fields["e"]) <= datetime.now(UTC):
        raise _unauthorized(f"The {TOKEN_HEADER} expired at {unquote_plus(fields['e'])}.")


def _signature(text: str, key: str) -> bytes:
    try:
        secret = base64.b64decode(key, validate=True)
    except binascii.Error:
        return b""  # a key that is not Base64 can't sign
    return base64.b64encode(hmac.new(secret, text.encode(), hashlib.sha256).digest())


def _expiry(encoded: str) -> datetime:
    for decoded in (unquote_plus(encoded), unquote(encoded)):  # the second: the + of a zone that was not encoded
        expiry = _date(" ".join(decoded.split()))  # newer versions of .NET write a narrow space before PM
        if expiry:
            return expiry if expiry.tzinfo else expiry.replace(tzinfo=UTC)
    raise _unauthorized(f"The expiration of the {TOKEN_HEADER} can't be read: {encoded}.")


def _date(text: str) -> datetime | None:
    with contextlib.suppress(ValueError):
        return datetime.fromisoformat(text)
    for form in _EXPIRY_FORMS:
        with contextlib.suppress(ValueError):
            return datetime.strptime(text, form)  # noqa: DTZ007 - the caller sets the zone
    return None


def _unauthorized(message: str) -> Refused:
    return Refused(HTTPStatus.UNAUTHORIZED, message)
