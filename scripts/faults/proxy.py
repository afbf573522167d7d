"""``python -m scripts.faults.proxy --port P --to Q``: passes connections on; SIGUSR1 makes it slow, SIGUSR2 fast again.

What stands between Helios and each of its stores while faults are tried: a signal is all it takes to make one slow.
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence

import uvloop

from local.stack.ports import HOST

_CHUNK = 65_536


class _Way:
    """How long each piece of data is held back now, in seconds."""

    delay = 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="scripts.faults.proxy", description=__doc__)
    parser.add_argument("--port", type=int, required=True, metavar="PORT", help="where to listen")
    parser.add_argument("--to", type=int, required=True, metavar="PORT", help="whom to pass connections on to")
    parser.add_argument("--delay", type=float, default=0.02, metavar="S", help="how long to hold data back when slow")
    given = parser.parse_args(arguments)
    uvloop.run(_serve(given.port, given.to, given.delay))
    return 0


async def _serve(port: int, target: int, delay: float) -> None:
    way, ended = _Way(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, lambda: setattr(way, "delay", delay))
    loop.add_signal_handler(signal.SIGUSR2, lambda: setattr(way, "delay", 0.0))
    loop.add_signal_handler(signal.SIGTERM, ended.set)

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(HOST, target)
        except OSError:  # nobody listens: the client is to see the same
            writer.transport.abort()
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(_copy(reader, back, way))
            group.create_task(_copy(there, writer, way))

    async with await asyncio.start_server(pass_on, HOST, port):
        await ended.wait()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter, way: _Way) -> None:
    """Pass data on in one direction until either side has gone."""
    try:
        while data := await source.read(_CHUNK):
            if way.delay:
                await asyncio.sleep(way.delay)
            target.write(data)
            await target.drain()
        target.close()
    except OSError:
        target.transport.abort()


if __name__ == "__main__":
    sys.exit(main())
