"""``python -m scripts.bench.load PORT CLIENTS SECONDS``: posts new events as fast as the server responds.

A separate process with bare streams and prebuilt requests, so that it takes little CPU from the server on the same
machine. Prints a JSON line: requests, seconds, and the latencies in ms.
"""

import asyncio
import json
import sys
import time

import uvloop

from local.stack.ports import HOST
from scripts.bench.payloads import SHAPES

PATH = "/api/v1/webhooks/aws/eventbridge"


async def _client(port: int, number: int, until: float, latencies: list[float]) -> None:
    reader, writer = await asyncio.open_connection(HOST, port)
    prefix = f"{number:03}-{time.time_ns():x}-"
    body = SHAPES["EventBridge"][1].replace("ID", prefix + "00000000", 1).encode()
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    before, _, after = (head + body).partition(b"00000000")
    sent = 0
    while (started := time.perf_counter()) < until:
        writer.write(before + b"%08d" % sent + after)
        sent += 1
        answer = await reader.readuntil(b"}")  # the body of a 202 is one small object
        if not answer.startswith(b"HTTP/1.1 202"):
            raise RuntimeError(answer.decode())
        latencies.append(time.perf_counter() - started)
    writer.close()
    await writer.wait_closed()


async def _run(port: int, clients: int, seconds: float) -> None:
    latencies: list[float] = []
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(_client(port, number, started + seconds, latencies))
    took = time.perf_counter() - started
    print(
        json.dumps(
            {"requests": len(latencies), "seconds": took, "ms": [round(latency * 1e3, 2) for latency in latencies]}
        )
    )


if __name__ == "__main__":
    uvloop.run(_run(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
