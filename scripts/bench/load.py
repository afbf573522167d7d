"""``python -m scripts.bench.load PORTS CLIENTS SECONDS``: posts new events as fast as the servers respond.

Each event has 600 bytes and an order of its own. The clients take turns with the ports, which are separated by commas.

A separate process with bare streams and prebuilt requests, so that it takes little CPU from the server on the same
machine. Prints a JSON line: requests, seconds, and the latencies in ms.
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


async def _client(port: int, number: int, until: float, latencies: list[float]) -> None:
    reader, writer = await asyncio.open_connection(HOST, port)
    event = f"{number:03}-{time.time_ns():x}-{COUNTER}"
    body = LEGS[0].body(event, SMALL_BYTES, id_=event)
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    before, between, after = (head + body).split(COUNTER.encode())
    sent = 0
    while (started := time.perf_counter()) < until:
        count = b"%08d" % sent
        writer.write(before + count + between + count + after)
        sent += 1
        answer = await reader.readuntil(b"}")  # the body of a 202 is one small object
        if not answer.startswith(b"HTTP/1.1 202"):
            raise RuntimeError(answer.decode())
        latencies.append(time.perf_counter() - started)
    writer.close()
    await writer.wait_closed()


async def _run(ports: list[int], clients: int, seconds: float) -> None:
    latencies: list[float] = []
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(_client(ports[number % len(ports)], number, started + seconds, latencies))
    took = time.perf_counter() - started
    print(
        json.dumps(
            {"requests": len(latencies), "seconds": took, "ms": [round(latency * 1e3, 2) for latency in latencies]}
        )
    )


if __name__ == "__main__":
    uvloop.run(_run([int(port) for port in sys.argv[1].split(",")], int(sys.argv[2]), float(sys.argv[3])))
