"""Security headers of every response, which is data and not a page: no other site may frame, sniff or cache it."""

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


_HEADERS = [_raw(name, value) for name, value in HEADERS.items()]
_ONLY_HTTPS = _raw("Strict-Transport-Security", ONLY_HTTPS)
_POLICY = _raw("Content-Security-Policy", NO_CONTENT)


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
        added = [*_HEADERS, _POLICY]
        if scope["scheme"] == "https":
            added.append(_ONLY_HTTPS)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(pair for pair in added if pair[0] not in present)]
            await send(message)

        await self._app(scope, receive, send_with_headers)
