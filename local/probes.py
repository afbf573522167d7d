"""Readiness checks that parts share."""

import http.client
from urllib.parse import urlsplit

from local.process import Probe

_SECONDS = 2


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
