"""The servers of the emulator: the API over gRPC and REST, and HTTP for certificates, health and status."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import grpc
from aiohttp import web

from helios.processes.ports import HOST
from local.emulators.pubsub import rest
from local.emulators.pubsub.broker import Broker
from local.emulators.pubsub.grpc_server import handlers
from local.emulators.pubsub.methods import Method
from local.emulators.pubsub.port import shared_port
from local.emulators.pubsub.publisher import PublisherService
from local.emulators.pubsub.push import Pushers
from local.emulators.pubsub.schemas import SchemaService
from local.emulators.pubsub.seek import Replays
from local.emulators.pubsub.subscriber import SubscriberService
from local.emulators.pubsub.tokens import Signer
from local.stack.aiohttp_filter import refusing
from local.stack.request_filter import LOOPBACK_ONLY, RequestFilter

_GRACE_SECONDS = 0.5


async def serve(
    *,
    port: int,
    http_port: int,
    data: Path,
    host: str = HOST,
    rule: RequestFilter = LOOPBACK_ONLY,
    undeliverable: str = "",
) -> None:
    """Serve until cancelled.

    Args:
        port: the port of the API, over gRPC and REST.
        http_port: the port of ``/healthz``, ``/status``, ``/oauth2/v1/certs`` and ``/oauth2/v3/certs``.
        data: the folder of the journal.
        host: the address to listen on; by default, only this machine can connect.
        rule: refuses requests of web pages over HTTP/1.1; a browser can't use gRPC.
        undeliverable: the field that marks messages which can't be pushed; empty for none.
    """
    async with contextlib.AsyncExitStack() as stack:
        broker = Broker(data)
        stack.callback(broker.close)
        signer = Signer()
        replays = Replays(broker)
        services = (PublisherService(broker, replays), SubscriberService(broker, replays), SchemaService())
        methods = [method for service in services for method in service.methods()]
        server, grpc_port = await _grpc_server(broker, methods)
        stack.push_async_callback(server.stop, _GRACE_SECONDS)
        api = await _started(rest.application(methods, rule), stack)
        await stack.enter_async_context(shared_port(host, port, grpc_port=grpc_port, rest=_protocols(api)))
        admin = await _started(_application(broker, signer, rule), stack)
        await web.TCPSite(admin, host, http_port).start()
        await Pushers(broker, signer, undeliverable=undeliverable).run()


async def _grpc_server(broker: Broker, methods: list[Method]) -> tuple[grpc.aio.Server, int]:
    """A started server on a free port of this machine, and this port."""
    server = grpc.aio.server(
        options=[("grpc.max_receive_message_length", rest.MAX_REQUEST_BYTES), ("grpc.so_reuseport", 0)]
    )
    server.add_generic_rpc_handlers(handlers(broker, methods))
    port = server.add_insecure_port(f"{HOST}:0")
    await server.start()
    return server, port


async def _started(app: web.Application, stack: contextlib.AsyncExitStack) -> web.AppRunner:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    return runner


def _protocols(runner: web.AppRunner) -> Callable[[], asyncio.Protocol]:
    """Makes the protocol of one connection to a started application."""
    if runner.server is None:
        raise RuntimeError("the application was not started")
    return runner.server


def _application(broker: Broker, signer: Signer, rule: RequestFilter) -> web.Application:
    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "healthy"})

    async def status(_: web.Request) -> web.Response:
        state = broker.state
        return web.json_response(
            {"subscriptions": broker.status(), "recovered": state.recovered, "unreadable": state.unreadable}
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
