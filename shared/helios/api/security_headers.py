"""What every answer tells a browser: it is data, not a page, and nobody else's to show."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
ONLY_HTTPS = "max-age=31536000"
"""Said over HTTPS only, as RFC 6797, section 7.2, has it: for a year this host is not asked over HTTP."""

NO_CONTENT = "default-src 'none'; frame-ancestors 'none'"
NO_FRAMES = "frame-ancestors 'none'"
"""For Swagger's page, which loads its own scripts."""


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
        policy = NO_FRAMES if scope["path"] == "/docs" else NO_CONTENT

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Content-Security-Policy", policy)
                if scope["scheme"] == "https":
                    headers.setdefault("Strict-Transport-Security", ONLY_HTTPS)
            await send(message)

        await self._app(scope, receive, send_with_headers)
