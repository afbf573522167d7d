"""Outgoing HTTP requests, without redirects."""

import urllib.request
from typing import Any


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
