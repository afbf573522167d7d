"""The servers of the emulator: gRPC for the client libraries, HTTP for certificates, health and status."""

import asyncio
import contextlib
from pathlib import Path

import grpc
from aiohttp import web

from local.emulators.pubsub.broker import Broker
from local.emulators.pubsub.push import Pushers
from local.emulators.pubsub.services import handlers
from local.emulators.pubsub.tokens import Signer
from local.stack.aiohttp_filter import refusing
from local.stack.ports import HOST
from local.stack.request_filter import LOOPBACK_ONLY, RequestFilter

_MAX_REQUEST_BYTES = 20 * 1_048_576
"""More than the limit of a publish request, so that the emulator refuses a larger one with Pub/Sub's error."""

_GRACE_SECONDS = 0.5


async def serve(
    *, port: int, http_port: int, data: Path, host: str = HOST, rule: RequestFilter = LOOPBACK_ONLY
) -> None:
    """Serve until cancelled.

    Args:
        port: the gRPC port.
        http_port: the port of ``/healthz``, ``/status``, ``/oauth2/v1/certs`` and ``/oauth2/v3/certs``.
        data: the folder of the journal.
        host: the address to listen on; by default, only this machine can connect.
        rule: refuses requests of web pages to the HTTP port; a browser can't use gRPC.
    """
    broker = Broker(data)
    signer = Signer()
    server = grpc.aio.server(
        options=[("grpc.max_receive_message_length", _MAX_REQUEST_BYTES), ("grpc.so_reuseport", 0)]
    )
    server.add_generic_rpc_handlers(handlers(broker))
    server.add_insecure_port(f"{host}:{port}")
    await server.start()
    pushing = asyncio.create_task(Pushers(broker, signer).run())
    runner = web.AppRunner(_application(broker, signer, rule), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, http_port).start()
    try:
        await pushing
    finally:
        pushing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await pushing
        await runner.cleanup()
        await server.stop(_GRACE_SECONDS)
        broker.close()


def _application(broker: Broker, signer: Signer, rule: RequestFilter) -> web.Application:
    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "healthy"})

    async def status(_: web.Request) -> web.Response:
        return web.json_response(
            {"subscriptions": broker.status(), "recovered": broker.recovered, "unreadable": broker.unreadable}
        )

    async def certificates(_: web.Request) -> web.Response:
        return web.json_response(signer.certificates)

    async def keys(_: web.Request) -> web.Response:
        return web.json_response(signer.keys)

    app = web.Application(middlewares=[refusing(rule)])
    app.add_routes(
        [
            web.get("/healthz", health),
            web.get("/status", status),
            web.get("/oauth2/v1/certs", certificates),
            web.get("/oauth2/v3/certs", keys),
        ]
    )
    return app
