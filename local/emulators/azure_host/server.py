"""All of it behind the URLs of the real host."""

import asyncio
import logging
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

from aiohttp import web

from local.emulators.azure_host.admin import Admin
from local.emulators.azure_host.event_grid_trigger import EventGridWebhook
from local.emulators.azure_host.function_app import EVENT_GRID, HTTP, TIMER, Function
from local.emulators.azure_host.host_json import HostJson
from local.emulators.azure_host.http_trigger import HttpFunction
from local.emulators.azure_host.invocation import Invoker
from local.emulators.azure_host.keys import Keys
from local.emulators.azure_host.timer_trigger import Timer

MAX_REQUEST_BYTES = 104_857_600
"""Microsoft's "HTTP trigger", "Limits": 100 MB."""

log = logging.getLogger("helios.local.azure_host")


def application(functions: list[Function], host: HostJson, access: Keys) -> web.Application:
    """The host for these functions.

    Raises:
        NotHostable: one has something that is not imitated.
        ValueError: the size of the thread pool is no number.
    """
    invoker = Invoker()
    by_name = {function.name: function for function in functions}
    of_http = [
        HttpFunction(function, host.route_prefix, access, invoker) for function in functions if function.trigger == HTTP
    ]
    webhook = EventGridWebhook(
        {name: function for name, function in by_name.items() if function.trigger == EVENT_GRID}, access, invoker
    )
    timers = {name: Timer(function, invoker) for name, function in by_name.items() if function.trigger == TIMER}
    admin = Admin(by_name, timers, access, invoker)
    _log_functions(of_http, functions, timers)

    app = web.Application(client_max_size=MAX_REQUEST_BYTES)
    app.add_routes(
        [
            web.get("/admin/host/ping", admin.ping),
            web.get("/admin/host/status", admin.status),
            web.get("/admin/functions", admin.list_functions),
            web.post("/admin/functions/{name}", admin.run),
            web.route("*", "/runtime/webhooks/{extension:(?i:eventgrid)}", webhook.answer),
            web.route("*", "/{path:.*}", _HttpFunctions(of_http).answer),
        ]
    )

    async def run(_app: web.Application) -> AsyncIterator[None]:
        running = [asyncio.create_task(timer.run(), name=timer.function.name) for timer in timers.values()]
        yield
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.to_thread(invoker.close)

    app.cleanup_ctx.append(run)
    return app


class _HttpFunctions:
    """Every HTTP function; the one with the most fixed segments in its route goes first."""

    def __init__(self, functions: list[HttpFunction]) -> None:
        self._functions = sorted(functions, key=lambda one: -one.route.literals)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        for one in self._functions:
            parameters = one.route.match(request.path)
            if parameters is not None and request.method in one.methods:
                return await one.answer(request, parameters)
        if request.path == "/" and request.method == "GET":
            return web.Response(text="This local host of Azure Functions is up and running.")
        return web.Response(status=HTTPStatus.NOT_FOUND)  # also where only the method does not fit


def _log_functions(of_http: list[HttpFunction], functions: list[Function], timers: dict[str, Timer]) -> None:
    found: dict[str, dict[str, Any]] = {
        one.function.name: {"path": f"/{one.route.template}", "methods": sorted(one.methods)} for one in of_http
    }
    found |= {name: {"schedule": timer.expression} for name, timer in timers.items()}
    for function in functions:
        where = found.get(function.name, {"path": f"/runtime/webhooks/EventGrid?functionName={function.name}"})
        log.info("hosting", extra={"function": function.name, "trigger": function.trigger, **where})
