"""``python -m scripts.bench.load PORTS CLIENTS SECONDS``: posts new events as fast as the servers respond.

Each event has 600 bytes and an order of its own. The clients take turns with the ports, which are separated by commas.

A separate process with a bare protocol and prebuilt requests, so that it takes little CPU from the server on the same
machine. Prints a JSON line: requests, seconds, the processor time of this process, and the latencies in ms.
"""

import asyncio
import json
import sys
import time

import uvloop

from helios.processes.ports import HOST
from scripts.bench.orders import LEGS, SMALL_BYTES

PATH = "/api/v1/webhooks/aws/eventbridge"
COUNTER = "00000000"
"""What differs between the events of a client: in the id, and in the order's id."""


class _Client(asyncio.Protocol):
    """Posts an event, and the next one when it is answered, until the time is over.

    Attributes:
        ended: is done when the client has ended.
    """

    def __init__(self, port: int, number: int, until: float, latencies: list[float]) -> None:
        event = f"{number:03}-{time.time_ns():x}-{COUNTER}"
        body = LEGS[0].body(event, SMALL_BYTES, id_=event)
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode()
        self._parts = (head + body).split(COUNTER.encode())
        self._until = until
        self._latencies = latencies
        self._sent = 0
        self._started = 0.0
        self._answer = b""
        self._transport: asyncio.Transport | None = None
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Post the first event."""
        self._transport = transport  # type: ignore[assignment]  # TCP has one that writes
        self._post()

    def data_received(self, data: bytes) -> None:
        """Post the next event if this is the end of an answer: the body of a 202 is one small object."""
        self._answer += data
        if self._answer[-1:] != b"}":
            return
        if not self._answer.startswith(b"HTTP/1.1 202"):
            self.ended.set_exception(RuntimeError(self._answer.decode()))
            return
        self._answer = b""
        self._latencies.append(time.perf_counter() - self._started)
        self._post()

    def connection_lost(self, _: Exception | None) -> None:
        """End with an error unless the time is over."""
        if not self.ended.done():
            self.ended.set_exception(RuntimeError("the server has closed the connection"))

    def _post(self) -> None:
        self._started = time.perf_counter()
        if self._transport is None or self._started >= self._until:
            self.ended.set_result(None)
            return
        self._transport.write((b"%08d" % self._sent).join(self._parts))
        self._sent += 1


async def _run(ports: list[int], clients: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    started, used = time.perf_counter(), time.process_time()
    posting = []
    for number in range(clients):
        port = ports[number % len(ports)]
        client = _Client(port, number, started + seconds, latencies)
        await loop.create_connection(lambda client=client: client, HOST, port)  # type: ignore[misc]
        posting.append(client.ended)
    await asyncio.gather(*posting)
    took, cpu = time.perf_counter() - started, time.process_time() - used
    milliseconds = [round(latency * 1e3, 2) for latency in latencies]
    print(json.dumps({"requests": len(latencies), "seconds": took, "cpu_seconds": cpu, "ms": milliseconds}))


if __name__ == "__main__":
    uvloop.run(_run([int(port) for port in sys.argv[1].split(",")], int(sys.argv[2]), float(sys.argv[3])))
