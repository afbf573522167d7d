"""The HTTP server of the host, with the URLs of the real one."""

import asyncio
import logging
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

from aiohttp import web

from local.emulators.azure_host.admin import Admin
from local.emulators.azure_host.event_grid_trigger import EventGridWebhook
from local.emulators.azure_host.function_app import EVENT_GRID, HTTP, QUEUE, TIMER, Function
from local.emulators.azure_host.host_json import HostJson
from local.emulators.azure_host.http_trigger import HttpFunction
from local.emulators.azure_host.invocation import Invoker
from local.emulators.azure_host.keys import Keys
from local.emulators.azure_host.queue_trigger import QueueTrigger
from local.emulators.azure_host.timer_trigger import Timer
from local.stack.aiohttp_filter import refusing
from local.stack.request_filter import LOOPBACK_ONLY, RequestFilter

MAX_REQUEST_BYTES = 104_857_600
"""Microsoft's "HTTP trigger", "Limits": 100 MB."""

log = logging.getLogger("helios.local.azure_host")


def application(
    functions: list[Function], host: HostJson, access: Keys, rule: RequestFilter = LOOPBACK_ONLY
) -> web.Application:
    """The web application that hosts these functions.

    Raises:
        NotHostable: a function uses a feature that is not imitated.
        ValueError: the size of the thread pool is invalid.
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
    queues = {
        name: QueueTrigger(function, invoker, host.queues)
        for name, function in by_name.items()
        if function.trigger == QUEUE
    }
    admin = Admin(by_name, timers, queues, access, invoker)
    _log_functions(of_http, functions, timers, queues)

    app = web.Application(middlewares=[refusing(rule)], client_max_size=MAX_REQUEST_BYTES)
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
        listeners: list[Timer | QueueTrigger] = [*timers.values(), *queues.values()]
        running = [asyncio.create_task(listener.run(), name=listener.function.name) for listener in listeners]
        yield
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.to_thread(invoker.close)

    app.cleanup_ctx.append(run)
    return app


class _HttpFunctions:
    """Every HTTP function; routes with more fixed segments take precedence."""

    def __init__(self, functions: list[HttpFunction]) -> None:
        self._functions = sorted(functions, key=lambda function: -function.route.literals)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        for function in self._functions:
            parameters = function.route.match(request.path)
            if parameters is not None and request.method in function.methods:
                return await function.answer(request, parameters)
        if request.path == "/" and request.method == "GET":
            return web.Response(text="This local host of Azure Functions is up and running.")
        return web.Response(status=HTTPStatus.NOT_FOUND)  # also when only the method does not match


def _log_functions(
    of_http: list[HttpFunction],
    functions: list[Function],
    timers: dict[str, Timer],
    queues: dict[str, QueueTrigger],
) -> None:
    details: dict[str, dict[str, Any]] = {
        http.function.name: {"path": f"/{http.route.template}", "methods": sorted(http.methods)} for http in of_http
    }
    details |= {name: {"schedule": timer.expression} for name, timer in timers.items()}
    details |= {name: {"queue": trigger.queue_name} for name, trigger in queues.items()}
    for function in functions:
        detail = details.get(function.name, {"path": f"/runtime/webhooks/EventGrid?functionName={function.name}"})
        log.info("hosting", extra={"function": function.name, "trigger": function.trigger, **detail})
