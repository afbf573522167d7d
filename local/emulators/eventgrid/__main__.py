"""``python -m local.emulators.eventgrid --port 8087 --data FOLDER``: run the emulator until SIGTERM or SIGINT."""

import argparse
import asyncio
import contextlib
import logging
import signal
from pathlib import Path

from aiohttp import web

from helios import logs
from helios.processes.ports import HOST
from local.emulators import undeliverable
from local.emulators.eventgrid import retry, tls
from local.emulators.eventgrid.emulator import Emulator, Options
from local.emulators.eventgrid.server import application
from local.stack import request_filter
from local.stack.request_filter import RequestFilter

log = logging.getLogger("helios.local.eventgrid")

_SHUTDOWN_SECONDS = 2


def main() -> None:
    """Read the command line and serve."""
    arguments = _parser().parse_args()
    logs.configure("INFO")
    options = Options(
        url=arguments.url or f"http://{arguments.host}:{arguments.port}",
        data=arguments.data.absolute(),
        dead_letters=(arguments.dead_letters or arguments.data / "dead-letters").absolute(),
        scale=arguments.time_scale,
        response_seconds=arguments.response_seconds,
        concurrency=arguments.concurrency,
        undeliverable=arguments.undeliverable,
    )
    log.info("Event Grid emulator", extra=options._asdict())
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(_serve_until_signal(arguments, options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local.emulators.eventgrid", description="Emulate Azure Event Grid topics."
    )
    parser.add_argument("--port", type=int, required=True, help="the port to listen on")
    parser.add_argument("--tls-port", type=int, help="port of the same API over TLS (default: none)")
    parser.add_argument(
        "--host", default=HOST, help="the address to listen on (default %(default)s: this machine only)"
    )
    parser.add_argument("--url", help="URL of the emulator for clients (default: http://HOST:PORT)")
    parser.add_argument("--data", type=Path, required=True, help="folder for topics, subscriptions, pending events")
    parser.add_argument("--dead-letters", type=Path, help="folder for dead letters (default: DATA/dead-letters)")
    parser.add_argument("--time-scale", type=float, default=1.0, help="factor on retry waits and time to live")
    parser.add_argument(
        "--response-seconds", type=float, default=retry.RESPONSE_SECONDS, help="how long an endpoint has to answer"
    )
    parser.add_argument("--concurrency", type=int, default=16, help="most requests at a time per subscription")
    undeliverable.add_option(parser)
    request_filter.add_option(parser)
    return parser


async def _serve_until_signal(arguments: argparse.Namespace, options: Options) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    names = request_filter.hosts(arguments)
    app = application(Emulator(options), RequestFilter(hosts=names))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        if arguments.tls_port:
            secure = tls.context(options.data, names)
            await web.TCPSite(runner, arguments.host, arguments.tls_port, ssl_context=secure).start()
        await web.TCPSite(runner, arguments.host, arguments.port).start()  # last: a client that reaches it can start
        await stopped.wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    main()
