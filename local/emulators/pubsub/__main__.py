"""``python -m local.emulators.pubsub --port 8085 --http-port 8086 --data FOLDER``: run the emulator."""

import argparse
import asyncio
import contextlib
import logging
import signal
from pathlib import Path

from helios import logs
from local.emulators.pubsub.server import serve
from local.stack.ports import HOST

log = logging.getLogger("helios.local.pubsub")


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(
        prog="python -m local.emulators.pubsub", description="Emulate Google Cloud Pub/Sub."
    )
    parser.add_argument("--port", type=int, required=True, help="gRPC: what PUBSUB_EMULATOR_HOST names")
    parser.add_argument("--http-port", type=int, required=True, help="certificates, health and figures")
    parser.add_argument("--host", default=HOST, help="the address to listen on (default %(default)s: nobody else)")
    parser.add_argument("--data", type=Path, required=True, help="folder of topics, subscriptions, pending messages")
    given = parser.parse_args()
    logs.configure("INFO")
    log.info("Pub/Sub emulator", extra={"port": given.port, "http_port": given.http_port, "data": str(given.data)})
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(_until_told(given.port, given.http_port, given.data.absolute(), given.host))


async def _until_told(port: int, http_port: int, data: Path, host: str) -> None:
    serving = asyncio.create_task(serve(port=port, http_port=http_port, data=data, host=host))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, serving.cancel)
    await serving


if __name__ == "__main__":
    main()
