"""The HTTP server of the API: uvicorn, with a time limit for the header of a request."""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from helios.api.receive import BODY_ARRIVED

HEADER_SECONDS: Final = 10.0
"""How long the header of a request may take to arrive. uvicorn has no limit: a client that sends a byte now and again
would hold its connection, and a file descriptor, without end."""

_TIMEOUT: Final = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class DeadlineProtocol(HttpToolsProtocol):
    """uvicorn's protocol on httptools. It closes a connection whose next header does not arrive within HEADER_SECONDS.

    The time starts with the connection, and for each further request with its first byte. While nothing arrives between
    two requests, uvicorn's own limit for idle connections applies; ``read_body`` limits the time of a body.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Take the arguments of uvicorn."""
        super().__init__(*arguments, **options)
        self._reads_header = True
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Start the time of the first header."""
        super().connection_made(transport)
        self._start_deadline()

    def data_received(self, data: bytes) -> None:
        """Start the time of a header with its first byte, whether or not the parser skips it."""
        if self._reads_header and self._deadline is None:
            self._start_deadline()
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """Stop the time."""
        self._reads_header = False
        self._stop_deadline()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Expect the next header."""
        self._reads_header = True
        self.scope[BODY_ARRIVED] = True  # type: ignore[literal-required]  # not of uvicorn
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the time."""
        self._stop_deadline()
        super().connection_lost(exc)

    def _start_deadline(self) -> None:
        self._deadline = self.loop.call_later(HEADER_SECONDS, self._expire)

    def _stop_deadline(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _expire(self) -> None:
        """Close the connection, with an answer unless the one to an earlier request is still being sent."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(_TIMEOUT)
        self.transport.close()
