"""Readiness checks that services share."""

import http.client
import socket
from urllib.parse import urlsplit

import psycopg

from local.stack.ports import HOST
from local.stack.process import Probe

_SECONDS = 2

_HAD_ITS_TURN = "SELECT FROM consumers WHERE name = %s AND seen_at > now() - interval '5 s'"


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


def follows(database_url: str, consumer: str) -> Probe:
    """Asks whether this consumer of the stream had its turn a moment ago, as one that lives has all the time."""

    def probe() -> bool:
        try:
            with psycopg.connect(database_url, connect_timeout=_SECONDS) as connection:
                return connection.execute(_HAD_ITS_TURN, (consumer,)).fetchone() is not None
        except psycopg.OperationalError:
            return False  # the database is being started again

    return probe
