"""The authorization of publishers: a topic's key in ``aeg-sas-key``, or a signature with it in ``aeg-sas-token``."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from local.emulators.eventgrid.errors import Refused
from local.emulators.eventgrid.topic import Topic

KEY_HEADER = "aeg-sas-key"
TOKEN_HEADER = "aeg-sas-token"  # noqa: S105 - a header's name

_SAMPLE_EXPIRY_FORM = "%m/%d/%Y %I:%M:%S %p"
"""The format of a token's expiry in Microsoft's samples in C# and shell; its SDK for Python writes ISO 8601."""


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
    """Check ``r=<resource>&e=<expiry>&s=<signature>``; the signature covers the text before ``&s=``."""
    signed, _, _ = token.partition("&s=")
    fields = {name: values[0] for name, values in parse_qs(token.replace("+", "%2B")).items()}
    if not {"r", "e", "s"} <= fields.keys():
        raise _unauthorized(f"The {TOKEN_HEADER} must have the form r=<resource>&e=<expiration>&s=<signature>.")
    if not any(hmac.compare_digest(fields["s"].encode(), _signature(signed, key)) for key in keys):
        raise _unauthorized(f"The {TOKEN_HEADER} is not authorized for {topic.name.upper()}: its signature is wrong.")
    if not urlsplit(fields["r"]).path.lower().startswith(topic.path.lower()):
        raise _unauthorized(f"The {TOKEN_HEADER} is for another resource: {fields['r']}.")
    if _expiry(fields["e"]) <= datetime.now(UTC):
        raise _unauthorized(f"The {TOKEN_HEADER} expired at {fields['e']}.")


def _signature(text: str, key: str) -> bytes:
    try:
        secret = base64.b64decode(key, validate=True)
    except binascii.Error:
        return b""  # a key that is not Base64 can't sign
    return base64.b64encode(hmac.new(secret, text.encode(), hashlib.sha256).digest())


def _expiry(text: str) -> datetime:
    try:
        expiry = datetime.fromisoformat(text)
    except ValueError:
        try:
            expiry = datetime.strptime(text, _SAMPLE_EXPIRY_FORM)  # noqa: DTZ007 - the return statement sets the zone
        except ValueError as error:
            raise _unauthorized(f"The expiration of the {TOKEN_HEADER} can't be read: {text}.") from error
    return expiry if expiry.tzinfo else expiry.replace(tzinfo=UTC)


def _unauthorized(message: str) -> Refused:
    return Refused(HTTPStatus.UNAUTHORIZED, message)
