"""HTTP POSTs over connections that stay open: what push delivery needs, and no more.

Not aiohttp's client: that one waits for another status after 102, by which Pub/Sub's endpoints may acknowledge, and
its cost per request is most of what a delivery takes.
"""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple, cast
from urllib.parse import SplitResult, urlsplit

import httptools

PROCESSING = 102
"""The one interim status that is an answer; after it nothing else is awaited."""
_FIRST_FINAL = 200


class _Origin(NamedTuple):
    host: str
    port: int
    encrypted: bool


class Poster:
    """Posts, and keeps connections for the next request; to be used within one event loop."""

    def __init__(self) -> None:
        """Nothing is connected yet."""
        self._idle: dict[_Origin, list[_Connection]] = {}

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, seconds: float) -> int:
        """The status that the endpoint answers with; redirects are not followed.

        Raises:
            TimeoutError: it did not answer within so many seconds.
            OSError: it can't be reached, or what it says is not HTTP.
        """
        parts = urlsplit(url)
        encrypted = parts.scheme == "https"
        origin = _Origin(parts.hostname or "", parts.port or (443 if encrypted else 80), encrypted)
        request = _head(parts, len(body), headers) + body
        async with asyncio.timeout(seconds):
            while idle := self._kept(origin):
                try:
                    return await self._exchange(origin, idle, request)
                except ConnectionResetError:
                    continue  # it was closed while nobody used it: take another
            return await self._exchange(origin, await _connect(origin), request)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()

    def _kept(self, origin: _Origin) -> "_Connection | None":
        connections = self._idle.get(origin)
        return connections.pop() if connections else None

    async def _exchange(self, origin: _Origin, connection: "_Connection", request: bytes) -> int:
        kept = False
        try:
            status = await connection.exchange(request)
            kept = connection.reusable
        finally:
            if kept:
                self._idle.setdefault(origin, []).append(connection)
            else:
                connection.close()
        return status


class _Connection(asyncio.Protocol):
    """One connection, with one request at a time. The methods ``on_...`` are httptools' names.

    Attributes:
        reusable: whether it may carry another request.
    """

    reusable = False
    _begun = False
    _status = 0

    def __init__(self) -> None:
        self._answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def exchange(self, request: bytes) -> int:
        self._answer = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._begun = self.reusable = False
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
            self.close()  # nobody asked for this
            return
        self._begun = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionAbortedError(f"the answer is not HTTP: {error}"))
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.reusable = False
        if self._status >= _FIRST_FINAL:
            self._succeed()  # its end is the end of the body
        elif self._begun:
            self._fail(ConnectionAbortedError(f"the connection ended within the answer: {exc or 'closed'}"))
        else:
            self._fail(ConnectionResetError(f"the connection ended before the answer: {exc or 'closed'}"))

    def on_headers_complete(self) -> None:
        # The status alone decides; a body is read only so that the connection can carry another request.
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
            self._answer.exception()  # asked for here, as perhaps nobody waits any more


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
