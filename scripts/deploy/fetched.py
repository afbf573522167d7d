"""Asks Helios' API over HTTP, with the token of HELIOS_TOKEN if there is one."""

import http.client
import os
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

TOKEN: Final = "HELIOS_TOKEN"  # noqa: S105 - the variable's name
_SECONDS: Final = 30


class Unreachable(Exception):  # noqa: N818 - reads as the fact it is
    """The API did not answer as it should; the message names the URL and says how it did."""


def fetch(url: str) -> Any:
    """The JSON at this URL; None where there is nothing (404).

    Raises:
        Unreachable: there is no answer, or one that is no success.
    """
    parts = urlsplit(url)
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    if parts.scheme not in kinds or not parts.netloc:
        raise Unreachable(f"{url!r} is not an http:// or https:// URL")
    connection = kinds[parts.scheme](parts.netloc, timeout=_SECONDS)
    token = os.environ.get(TOKEN)
    try:
        connection.request(
            "GET",
            f"{parts.path}?{parts.query}" if parts.query else parts.path,
            headers={"Authorization": f"Bearer {token}"} if token else {},
        )
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"{url}: {error}") from error
    finally:
        connection.close()
    if answer.status == HTTPStatus.NOT_FOUND:
        return None
    if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise Unreachable(f"{url}: HTTP {answer.status}: set {TOKEN} to a token that may read")
    if answer.status != HTTPStatus.OK:
        raise Unreachable(f"{url}: HTTP {answer.status}")
    return msgspec.json.decode(body)
