"""What every answer tells a browser: it is data, not a page, and nobody else's to show."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
ONLY_HTTPS = "max-age=31536000"
"""Said over HTTPS only, as RFC 6797, section 7.2, has it: for a year this host is not asked over HTTP."""

NO_CONTENT = "default-src 'none'; frame-ancestors 'none'"
NO_FRAMES = "frame-ancestors 'none'"
"""For Swagger's page, which loads its own scripts."""


def _raw(name: str, value: str) -> tuple[bytes, bytes]:
    """A header as ASGI has it."""
    return name.lower().encode(), value.encode()


_HEADERS = [_raw(name, value) for name, value in HEADERS.items()]
_ONLY_HTTPS = _raw("Strict-Transport-Security", ONLY_HTTPS)
_POLICY, _POLICY_OF_DOCS = (_raw("Content-Security-Policy", policy) for policy in (NO_CONTENT, NO_FRAMES))


class SecurityHeaders:
    """Adds them to whatever an application answers."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; a WebSocket has no answer to add them to."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        added = [*_HEADERS, _POLICY_OF_DOCS if scope["path"] == "/docs" else _POLICY]
        if scope["scheme"] == "https":
            added.append(_ONLY_HTTPS)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(pair for pair in added if pair[0] not in given)]
            await send(message)

        await self._app(scope, receive, send_with_headers)
