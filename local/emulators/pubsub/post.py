"""A minimal HTTP client for push delivery: POST requests over persistent connections.

Not aiohttp's client: it waits for another status after 102, which acknowledges a Pub/Sub message, and it takes most of
the time of a delivery.
"""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple, cast
from urllib.parse import SplitResult, urlsplit

import httptools

PROCESSING = 102
"""The only interim status that counts as the answer; the client does not wait for another one."""
_FIRST_FINAL = 200


class _Origin(NamedTuple):
    host: str
    port: int
    encrypted: bool


class Poster:
    """Sends POST requests, and reuses connections; may be used within one event loop only."""

    def __init__(self) -> None:
        """Start without connections."""
        self._idle: dict[_Origin, list[_Connection]] = {}

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, seconds: float) -> int:
        """The status of the endpoint's answer; redirects are not followed.

        Raises:
            TimeoutError: the endpoint did not answer within ``seconds``.
            OSError: the endpoint can't be reached, or its answer is not HTTP.
        """
        parts = urlsplit(url)
        encrypted = parts.scheme == "https"
        origin = _Origin(parts.hostname or "", parts.port or (443 if encrypted else 80), encrypted)
        request = _head(parts, len(body), headers) + body
        async with asyncio.timeout(seconds):
            while connection := self._idle_connection(origin):
                try:
                    return await self._exchange(origin, connection, request)
                except ConnectionResetError:
                    continue  # the endpoint closed the idle connection: try another
            return await self._exchange(origin, await _connect(origin), request)

    def close(self) -> None:
        """Close the idle connections."""
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()

    def _idle_connection(self, origin: _Origin) -> "_Connection | None":
        connections = self._idle.get(origin)
        return connections.pop() if connections else None

    async def _exchange(self, origin: _Origin, connection: "_Connection", request: bytes) -> int:
        reusable = False
        try:
            status = await connection.exchange(request)
            reusable = connection.reusable
        finally:
            if reusable:
                self._idle.setdefault(origin, []).append(connection)
            else:
                connection.close()
        return status


class _Connection(asyncio.Protocol):
    """One connection, with one request at a time. httptools calls the methods ``on_...``.

    Attributes:
        reusable: whether it may carry another request.
    """

    reusable = False
    _answer_started = False
    _status = 0

    def __init__(self) -> None:
        self._answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def exchange(self, request: bytes) -> int:
        self._answer = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._answer_started = self.reusable = False
        self._status = 0
        if self._transport.is_closing():
            raise ConnectionResetError("the endpoint had closed the connection")
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._answer.done():
            self.close()  # data without a request
            return
        self._answer_started = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionAbortedError(f"the answer is not HTTP: {error}"))
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.reusable = False
        if self._status >= _FIRST_FINAL:
            self._succeed()  # the end of the connection is the end of the body
        elif self._answer_started:
            self._fail(ConnectionAbortedError(f"the connection ended during the answer: {exc or 'closed'}"))
        else:
            self._fail(ConnectionResetError(f"the connection ended before the answer: {exc or 'closed'}"))

    def on_headers_complete(self) -> None:
        # Only the status matters; the body is read so that the connection can be reused.
        self._status = self._parser.get_status_code()
        if self._status == PROCESSING:
            self._succeed()

    def on_message_complete(self) -> None:
        if self._status >= _FIRST_FINAL:
            self.reusable = self._parser.should_keep_alive()
            self._succeed()

    def _succeed(self) -> None:
        if not self._answer.done():
            self._answer.set_result(self._status)

    def _fail(self, error: OSError) -> None:
        if not self._answer.done():
            self._answer.set_exception(error)
            self._answer.exception()  # marks it as retrieved, as the caller may not wait any more


async def _connect(origin: _Origin) -> _Connection:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(
        _Connection, origin.host, origin.port, ssl=True if origin.encrypted else None
    )
    return connection


def _head(parts: SplitResult, length: int, headers: Mapping[str, str]) -> bytes:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"POST {target} HTTP/1.1", f"Host: {parts.netloc.rpartition('@')[2]}", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
