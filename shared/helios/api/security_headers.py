"""Security headers of every response, which is data and not a page: no other site may frame, sniff or cache it."""

from collections.abc import Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
ONLY_HTTPS = "max-age=31536000"
"""Sent over HTTPS only, as RFC 6797, section 7.2, requires: for a year a browser uses no HTTP with this host."""

NO_CONTENT = "default-src 'none'; frame-ancestors 'none'"
"""The policy of every response that has none of its own."""


def _raw(name: str, value: str) -> tuple[bytes, bytes]:
    """A header in the form of ASGI."""
    return name.lower().encode(), value.encode()


RawHeaders = Sequence[tuple[bytes, bytes]]

_ADDED = [*(_raw(name, value) for name, value in HEADERS.items()), _raw("Content-Security-Policy", NO_CONTENT)]
_ADDED_BY_SCHEME = {"https": [*_ADDED, _raw("Strict-Transport-Security", ONLY_HTTPS)]}


def added_headers(scheme: str, present: RawHeaders) -> RawHeaders:
    """The headers that a response over this scheme lacks, in the form of ASGI."""
    names = {name.lower() for name, _ in present}
    added = _ADDED_BY_SCHEME.get(scheme, _ADDED)
    return [pair for pair in added if pair[0] not in names]


class SecurityHeaders:
    """Adds the headers to every response of an application."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; a WebSocket has no response that could get headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = message["headers"]
                message["headers"] = [*present, *added_headers(scope["scheme"], present)]
            await send(message)

        await self._app(scope, receive, send_with_headers)
