"""``python -m local.emulators.pubsub --port 8085 --http-port 8086 --data FOLDER``: run the emulator."""

import argparse
import asyncio
import contextlib
import logging
import signal
from pathlib import Path

from helios import logs
from helios.processes.ports import HOST
from local.emulators import undeliverable
from local.emulators.pubsub.server import serve
from local.stack import request_filter
from local.stack.request_filter import RequestFilter

log = logging.getLogger("helios.local.pubsub")


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(
        prog="python -m local.emulators.pubsub", description="Emulate Google Cloud Pub/Sub."
    )
    parser.add_argument("--port", type=int, required=True, help="port of the API, for PUBSUB_EMULATOR_HOST")
    parser.add_argument("--http-port", type=int, required=True, help="port of certificates, health and status")
    parser.add_argument(
        "--host", default=HOST, help="the address to listen on (default %(default)s: this machine only)"
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of topics, subscriptions, pending messages")
    undeliverable.add_option(parser)
    request_filter.add_option(parser)
    options = parser.parse_args()
    logs.configure("INFO")
    facts = {"port": options.port, "http_port": options.http_port, "data": str(options.data)}
    log.info("Pub/Sub emulator", extra=facts)
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(_serve_until_signal(options))


async def _serve_until_signal(options: argparse.Namespace) -> None:
    serving = asyncio.create_task(
        serve(
            port=options.port,
            http_port=options.http_port,
            data=options.data.absolute(),
            host=options.host,
            rule=RequestFilter(hosts=request_filter.hosts(options)),
            undeliverable=options.undeliverable,
        )
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, serving.cancel)
    await serving


if __name__ == "__main__":
    main()
