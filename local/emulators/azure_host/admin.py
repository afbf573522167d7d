"""The host's own API below ``/admin``, protected by the master key."""

import asyncio
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web
from azure.functions.meta import Datum

from local.emulators.azure_host import keys
from local.emulators.azure_host.function_app import EVENT_GRID, HTTP, QUEUE, Function
from local.emulators.azure_host.invocation import Invoker
from local.emulators.azure_host.keys import Keys
from local.emulators.azure_host.queue_trigger import QueueTrigger
from local.emulators.azure_host.timer_trigger import Timer

log = logging.getLogger("helios.local.azure_host")


class Admin:
    """Answers of the admin API."""

    def __init__(
        self,
        functions: Mapping[str, Function],
        timers: Mapping[str, Timer],
        queues: Mapping[str, QueueTrigger],
        access: Keys,
        invoker: Invoker,
    ) -> None:
        """Build it from the app's functions, timers and queue triggers, by name."""
        self._functions = functions
        self._timers = timers
        self._queues = queues
        self._access = access
        self._invoker = invoker
        self._started = time.monotonic()
        self._runs: set[asyncio.Task[Any]] = set()

    async def ping(self, _request: web.Request) -> web.Response:
        """200 once functions are hosted; no key needed."""
        return web.Response()

    async def status(self, request: web.Request) -> web.Response:
        """The state of the host."""
        if not self._allowed(request):
            return web.Response(status=HTTPStatus.UNAUTHORIZED)
        status = {
            "id": "helios-local",
            "state": "Running",
            "version": "local.emulators.azure_host, not the Azure runtime",
            "processUptime": round((time.monotonic() - self._started) * 1000),
        }
        return _json(status)

    async def list_functions(self, request: web.Request) -> web.Response:
        """The functions of the app, and their triggers."""
        if not self._allowed(request):
            return web.Response(status=HTTPStatus.UNAUTHORIZED)
        return _json(
            [
                {"name": function.name, "config": {"bindings": [function.settings]}}
                for function in self._functions.values()
            ]
        )

    async def run(self, request: web.Request) -> web.Response:
        """Run a function on demand: 202 at once, whatever its result.

        Microsoft's "Manually run a non HTTP-triggered function": the body is ``{"input": ...}``.
        """
        if not self._allowed(request):
            return web.Response(status=HTTPStatus.UNAUTHORIZED)
        function = self._functions.get(request.match_info["name"])
        if function is None:
            return web.Response(status=HTTPStatus.NOT_FOUND)
        if function.trigger == HTTP:
            return web.Response(status=HTTPStatus.BAD_REQUEST, text=f"Call {function.name} at its own URL.")
        try:
            value = msgspec.json.decode(await request.read() or b"{}", type=dict[str, Any]).get("input")
        except msgspec.DecodeError:
            return web.Response(status=HTTPStatus.BAD_REQUEST)
        run = asyncio.create_task(self._run(function, value))
        self._runs.add(run)
        run.add_done_callback(self._runs.discard)
        return web.Response(status=HTTPStatus.ACCEPTED)

    async def _run(self, function: Function, value: Any) -> None:
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        if function.trigger == QUEUE:
            await self._queues[function.name].invoke(text)
        elif function.trigger == EVENT_GRID:
            await self._invoker.invoke(function, Datum(text, "json"))
        else:
            await self._timers[function.name].invoke(due=datetime.now(UTC))

    def _allowed(self, request: web.Request) -> bool:
        return keys.has_key(request, self._access.master)


def _json(content: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(content, enc_hook=str), content_type="application/json")
