"""``python -m scripts.bench.proxy HOST PORT MS``: a proxy in front of Postgres that makes it this many ms distant.

Prints its port. For each line on its standard input it prints how often its clients have waited for an answer since the
last line. It ends at the end of its input, hence also when the process that has started it is killed.
"""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from subprocess import PIPE, Popen
from typing import cast

import uvloop

from helios.processes.ports import HOST
from local.stack.config import REPOSITORY


class Distance:
    """A running proxy.

    Attributes:
        port: where it listens.
    """

    def __init__(self, process: "Popen[str]") -> None:
        self._process = process
        self.port = self._read()

    def trips(self) -> int:
        """How often clients have waited for an answer since the last call."""
        if self._process.stdin is None:
            raise AssertionError("the process has a pipe")
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> int:
        if self._process.stdout is None or not (line := self._process.stdout.readline()):
            raise RuntimeError("the proxy has ended")
        return int(line)


@contextmanager
def distant(host: str, port: int, milliseconds: float) -> Iterator[Distance]:
    """A proxy during the block."""
    command = [sys.executable, "-m", "scripts.bench.proxy", host, str(port), str(milliseconds)]
    with Popen(command, cwd=REPOSITORY, stdin=PIPE, stdout=PIPE, text=True) as process:
        yield Distance(process)
        if process.stdin:
            process.stdin.close()


class _Direction(asyncio.Protocol):
    """One end of a connection. What it receives is written to the other end after half of the round trip."""

    def __init__(self, delay: float, received: "Callable[[_Direction], None]") -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _Direction | None = None
        self.before: list[bytes] = []
        self._delay = delay
        self._received = received

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received(self)
        if self._delay:
            asyncio.get_running_loop().call_later(self._delay, self._forward, data)
        else:
            self._forward(data)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        if self.other and self.other.transport:
            asyncio.get_running_loop().call_later(self._delay, self.other.transport.close)

    def _forward(self, data: bytes) -> None:
        if self.other is None:
            self.before.append(data)  # the server has not accepted the connection yet
        elif self.other.transport:
            self.other.transport.write(data)

    def join(self, other: "_Direction") -> None:
        """Connect the two ends, and forward what has arrived before."""
        self.other, other.other = other, self
        for data in self.before:
            self._forward(data)
        self.before.clear()


class _Proxy:
    """Counts how often a client sends something after the server: it has waited for that."""

    def __init__(self, server: tuple[str, int], delay: float) -> None:
        self.trips = 0
        self._server = server
        self._delay = delay
        self._answered: set[_Direction] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def accept(self) -> asyncio.Protocol:
        """The protocol of a new client."""
        client = _Direction(self._delay, self._client_sent)
        task = asyncio.get_running_loop().create_task(self._connect(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return client

    def _client_sent(self, client: _Direction) -> None:
        if client in self._answered:
            self._answered.discard(client)
            self.trips += 1

    async def _connect(self, client: _Direction) -> None:
        def answered(_: _Direction) -> None:
            self._answered.add(client)

        loop = asyncio.get_running_loop()
        _, server = await loop.create_connection(lambda: _Direction(self._delay, answered), *self._server)
        client.join(server)


async def _serve(host: str, port: int, milliseconds: float) -> None:
    loop = asyncio.get_running_loop()
    proxy = _Proxy((host, port), milliseconds / 2000)
    server = await loop.create_server(proxy.accept, HOST, 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while await lines.readline():
        print(proxy.trips, flush=True)
        proxy.trips = 0


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
