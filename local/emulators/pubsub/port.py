"""One port for gRPC and for REST, as Google's emulator has: the first bytes of a connection decide.

gRPC's server can't take over a connection that another server accepted, so its bytes pass through a second connection.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

from helios.processes.ports import HOST

HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n"
"""RFC 9113, section 3.4: what a client of HTTP/2 sends first. No method of HTTP/1.1 starts like this."""


@asynccontextmanager
async def shared_port(
    host: str, port: int, *, grpc_port: int, rest: Callable[[], asyncio.Protocol]
) -> AsyncIterator[None]:
    """Listen until the block ends.

    Args:
        host: the address to listen on.
        port: the port to listen on.
        grpc_port: the port of the gRPC server, on this machine.
        rest: makes the protocol that serves one connection of HTTP/1.1.

    Raises:
        OSError: the port is in use.
    """
    connections: set[asyncio.Transport] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Undecided(connections, grpc_port, rest), host, port)
    try:
        yield
    finally:
        server.close()
        for transport in connections:
            transport.abort()
        await server.wait_closed()


class _Undecided(asyncio.Protocol):
    """A connection whose client has not yet sent enough to decide."""

    def __init__(
        self, connections: set[asyncio.Transport], grpc_port: int, rest: Callable[[], asyncio.Protocol]
    ) -> None:
        self._connections = connections
        self._grpc_port = grpc_port
        self._rest = rest
        self._start = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self._transport)

    def data_received(self, data: bytes) -> None:
        self._start += data
        if len(self._start) < len(HTTP2_PREFACE) and HTTP2_PREFACE.startswith(self._start):
            return
        self._connections.discard(self._transport)
        if self._start.startswith(HTTP2_PREFACE):
            tunnel = _End(self._connections)
            self._transport.set_protocol(tunnel)
            tunnel.connection_made(self._transport)
            tunnel.connect(self._grpc_port, self._start)
            return
        protocol = self._rest()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(self._start)

    def connection_lost(self, _error: Exception | None) -> None:
        self._connections.discard(self._transport)


class _End(asyncio.Protocol):
    """One end of a tunnel; what it receives is sent from the other end."""

    def __init__(self, connections: set[asyncio.Transport], other: "_End | None" = None) -> None:
        self._connections = connections
        self._other = other
        self._connecting: asyncio.Task[None] | None = None

    def connect(self, port: int, start: bytes) -> None:
        """Open the other end, and send the first bytes from it; no more are read before."""
        self.transport.pause_reading()
        self._connecting = asyncio.get_running_loop().create_task(self._connect(port, start))

    async def _connect(self, port: int, start: bytes) -> None:
        loop = asyncio.get_running_loop()
        try:
            transport, self._other = await loop.create_connection(lambda: _End(self._connections, self), HOST, port)
        except OSError:
            self.transport.abort()  # the gRPC server is stopping
            return
        if self.transport.is_closing():
            transport.abort()
            return
        transport.write(start)
        self.transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._connections.add(self.transport)

    def data_received(self, data: bytes) -> None:
        if self._other:
            self._other.transport.write(data)

    def pause_writing(self) -> None:
        if self._other:
            self._other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self._other:
            self._other.transport.resume_reading()

    def connection_lost(self, _error: Exception | None) -> None:
        self._connections.discard(self.transport)
        if self._other:
            self._other.transport.close()
