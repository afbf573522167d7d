"""Readiness checks for services."""

import http.client
import socket
from urllib.parse import urlsplit

import psycopg

from helios.processes.ports import HOST
from helios.processes.process import Probe

_SECONDS = 2

_RECENTLY_SEEN = "SELECT FROM consumers WHERE name = %s AND seen_at > now() - interval '5 s'"


def accepts(port: int) -> Probe:
    """A check whether a process listens on this port."""

    def probe() -> bool:
        with socket.create_connection((HOST, port), timeout=_SECONDS) as connection:
            # While no process listens, the system may choose this port as the source: the connection reaches itself.
            return bool(connection.getsockname() != connection.getpeername())

    return probe


def answers(url: str) -> Probe:
    """A check whether a GET of this http:// URL returns 200."""
    parts = urlsplit(url)

    def probe() -> bool:
        connection = http.client.HTTPConnection(parts.netloc, timeout=_SECONDS)
        try:
            connection.request("GET", parts.path or "/")
            return connection.getresponse().status == http.HTTPStatus.OK
        except http.client.HTTPException:
            return False  # the server ended in the middle of its answer
        finally:
            connection.close()

    return probe


def follows(database_url: str, consumer: str) -> Probe:
    """A check whether this consumer has read the stream within the last 5 s, as every running consumer does."""

    def probe() -> bool:
        try:
            with psycopg.connect(database_url, connect_timeout=_SECONDS) as connection:
                return connection.execute(_RECENTLY_SEEN, (consumer,)).fetchone() is not None
        except psycopg.OperationalError:
            return False  # the database is restarting

    return probe
