"""Kafka on this machine: librdkafka's mock cluster, one broker in the memory of this process.

``python -m local.servers.kafka --port PORT``. The cluster speaks Kafka's protocol to any client: it creates topics on
first use, stores produced records, supports idempotent producers, and serves consumers and consumer groups. It loses
all data when it ends, has no ACLs or TLS, and does not answer administrative calls, which time out.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence
from typing import Final

from confluent_kafka import Producer

from helios.processes.ports import HOST

METADATA_SECONDS: Final = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="local.servers.kafka", description="Librdkafka's mock cluster at a port.")
    parser.add_argument("--port", type=int, required=True, metavar="PORT", help="the bootstrap port of the cluster")
    options = parser.parse_args(arguments)
    # The cluster lives as long as the client that created it.
    owner = Producer({"bootstrap.servers": HOST, "test.mock.num.brokers": 1})
    (broker,) = owner.list_topics(timeout=METADATA_SECONDS).brokers.values()
    asyncio.run(_serve(options.port, broker.port))
    return 0


async def _serve(port: int, broker_port: int) -> None:
    """Forward bootstrap connections to the broker, which chooses its own port and reports it to the clients."""
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        broker_reader, broker_writer = await asyncio.open_connection(HOST, broker_port)
        async with asyncio.TaskGroup() as group:
            group.create_task(_copy(reader, broker_writer))
            group.create_task(_copy(broker_reader, writer))

    async with await asyncio.start_server(forward, HOST, port):
        await stopping.wait()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):  # when one side has closed, close the other
        while chunk := await source.read(65_536):
            target.write(chunk)
            await target.drain()
    target.close()


if __name__ == "__main__":
    sys.exit(main())
