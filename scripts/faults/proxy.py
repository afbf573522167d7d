"""``python -m scripts.faults.proxy --port P --to Q``: a TCP proxy that SIGUSR1 makes slow and SIGUSR2 fast again.

The fault suite runs one proxy between Helios and each of its stores, and slows a store down with a signal.
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence

import uvloop

from helios.processes.ports import HOST

_CHUNK = 65_536


class _Delay:
    """The current delay of each chunk of data, in seconds."""

    seconds = 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="scripts.faults.proxy", description=__doc__)
    parser.add_argument("--port", type=int, required=True, metavar="PORT", help="port to listen on")
    parser.add_argument("--to", type=int, required=True, metavar="PORT", help="port to forward connections to")
    parser.add_argument(
        "--delay", type=float, default=0.02, metavar="S", help="seconds to delay each chunk of data when slow"
    )
    options = parser.parse_args(arguments)
    uvloop.run(_serve(options.port, options.to, options.delay))
    return 0


async def _serve(port: int, target: int, slow_seconds: float) -> None:
    delay, ended = _Delay(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, lambda: setattr(delay, "seconds", slow_seconds))
    loop.add_signal_handler(signal.SIGUSR2, lambda: setattr(delay, "seconds", 0.0))
    loop.add_signal_handler(signal.SIGTERM, ended.set)

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            target_reader, target_writer = await asyncio.open_connection(HOST, target)
        except OSError:  # the store is down: the client must see a broken connection too
            writer.transport.abort()
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(_copy(reader, target_writer, delay))
            group.create_task(_copy(target_reader, writer, delay))

    async with await asyncio.start_server(forward, HOST, port):
        await ended.wait()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter, delay: _Delay) -> None:
    """Forward data in one direction until either side closes its connection."""
    try:
        while data := await source.read(_CHUNK):
            if delay.seconds:
                await asyncio.sleep(delay.seconds)
            target.write(data)
            await target.drain()
        target.close()
    except OSError:
        target.transport.abort()


if __name__ == "__main__":
    sys.exit(main())
