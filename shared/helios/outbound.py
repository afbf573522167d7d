"""Outgoing HTTP requests, without redirects, and through the proxy that the environment names."""

import http.client
import select
import time
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

IDLE_SECONDS: Final = 30.0
"""After how long without use a connection is opened again: a NAT gateway or a freeze of the process may have ended it
without a word, and a request on it would wait for the whole timeout."""


class Answer(NamedTuple):
    """The answer to a request."""

    status: int
    reason: str
    body: bytes


class KeptConnection:
    """Sends one request at a time to one URL, over a connection that is kept. A redirect is an answer like any other.

    ``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY`` are read as ``open_directly`` reads them. A proxy is reached
    without TLS; a request to an https:// URL passes through it encrypted, as a tunnel (CONNECT).
    """

    def __init__(self, url: str, *, timeout_seconds: float) -> None:
        """Take an http:// or https:// URL. The first request connects."""
        parts = urlsplit(url)
        is_encrypted = parts.scheme == "https"
        connect = http.client.HTTPSConnection if is_encrypted else http.client.HTTPConnection
        proxy = urllib.request.getproxies().get(parts.scheme)
        self._target = parts._replace(scheme="", netloc="").geturl() or "/"
        self._of_proxy: Mapping[str, str] = {}
        self._used_at = float("-inf")
        if not proxy or urllib.request.proxy_bypass(parts.netloc):
            self._connection = connect(parts.netloc, timeout=timeout_seconds)
            return
        address = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        credentials = _proxy_credentials(address.username, address.password)
        self._connection = connect(address.netloc.rpartition("@")[2], timeout=timeout_seconds)
        if is_encrypted:
            self._connection.set_tunnel(parts.netloc, headers=credentials)
        else:
            self._target, self._of_proxy = url, credentials  # RFC 9112, section 3.2.2, "absolute-form"

    def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """The answer to a POST, which may be sent twice: the server may close a connection at the same moment.

        Raises:
            OSError: the server can't be reached, or does not answer in time.
            http.client.HTTPException: the answer is not valid HTTP.
        """
        if self._is_stale():
            self._connection.close()
        is_kept = self._connection.sock is not None
        try:
            return self._exchange(body, headers)
        except (ConnectionError, http.client.HTTPException):
            if not is_kept:
                raise
            return self._exchange(body, headers)

    def close(self) -> None:
        """Close the connection; the next request opens it again."""
        self._connection.close()

    def _exchange(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        try:
            self._connection.request("POST", self._target, body, {**headers, **self._of_proxy})
            response = self._connection.getresponse()
            answer = Answer(response.status, response.reason, response.read())
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise
        self._used_at = time.monotonic()
        return answer

    def _is_stale(self) -> bool:
        """Whether the connection was idle for long, or the server has closed it, which can be read."""
        if self._connection.sock is None:
            return False
        poll = select.poll()
        poll.register(self._connection.sock, select.POLLIN)
        return time.monotonic() - self._used_at > IDLE_SECONDS or bool(poll.poll(0))


def _proxy_credentials(user: str | None, password: str | None) -> dict[str, str]:
    """The header of a proxy's user (RFC 7617)."""
    if user is None:
        return {}
    credentials = f"{unquote(user)}:{unquote(password or '')}".encode()
    return {"Proxy-Authorization": f"Basic {b64encode(credentials).decode()}"}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Follow no redirect: it could point at any address inside the network, and would carry a token there."""


def open_directly(request: str | urllib.request.Request, *, timeout_seconds: float) -> Any:
    """Send a request, and return the answer, which the caller closes.

    A redirect raises ``HTTPError``, as every answer that is not a success does.

    Raises:
        OSError: the server can't be reached, or does not answer in time.
        http.client.HTTPException: the answer is not valid HTTP.
    """
    return urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout_seconds)
