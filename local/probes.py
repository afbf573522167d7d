"""Readiness checks that parts share."""

import http.client
import socket
from urllib.parse import urlsplit

from local.ports import HOST
from local.process import Probe

_SECONDS = 2


def accepts(port: int) -> Probe:
    """Asks whether something listens on this port."""

    def probe() -> bool:
        with socket.create_connection((HOST, port), timeout=_SECONDS) as connection:
            # While nobody listens, a connection may be given this very port to start from, and so reach itself.
            return bool(connection.getsockname() != connection.getpeername())

    return probe


def answers(url: str) -> Probe:
    """Asks whether a GET of this http:// URL is answered with 200."""
    parts = urlsplit(url)

    def probe() -> bool:
        connection = http.client.HTTPConnection(parts.netloc, timeout=_SECONDS)
        try:
            connection.request("GET", parts.path or "/")
            return connection.getresponse().status == http.HTTPStatus.OK
        except http.client.HTTPException:
            return False  # it ended in mid-answer
        finally:
            connection.close()

    return probe
