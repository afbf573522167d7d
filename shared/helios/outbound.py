"""HTTP to other machines: every request of Helios' own goes where it was sent, and nowhere else."""

import urllib.request
from typing import Any


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Follow none: it could lead to any address inside the network, and would take a token along."""


def open_directly(request: str | urllib.request.Request, *, timeout_seconds: float) -> Any:
    """The answer, to be closed; a redirect is an ``HTTPError``, as any answer but a success is.

    Raises:
        OSError: there is none.
        http.client.HTTPException: it is none of HTTP.
    """
    return urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout_seconds)
