"""The webhook of the Event Grid extension: ``/runtime/webhooks/EventGrid?functionName=...&code=...``.

Its answers are those of ``HttpRequestProcessor`` and ``EventGridExtensionConfigProvider`` in Microsoft's extension
(Microsoft.Azure.WebJobs.Extensions.EventGrid 3.4).
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web
from azure.functions.meta import Datum

from local.emulators.azure_host import keys
from local.emulators.azure_host.function_app import Function
from local.emulators.azure_host.invocation import Invoker
from local.emulators.azure_host.keys import Keys

_ORIGIN = "eventgrid.azure.net"

log = logging.getLogger("helios.local.azure_host")


class EventGridWebhook:
    """Every Event Grid function behind one URL."""

    def __init__(self, functions: Mapping[str, Function], access: Keys, invoker: Invoker) -> None:
        """Build it from the app's Event Grid functions, by name."""
        self._functions = functions
        self._access = access
        self._invoker = invoker

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a request of Event Grid: a handshake, a notification, or the notice of a deleted subscription."""
        if not keys.has_key(request, self._access.event_grid, self._access.master):
            return web.Response(status=HTTPStatus.UNAUTHORIZED)
        query = {name.lower(): value for name, value in request.query.items()}
        name = query.get("functionname", "")
        function = self._functions.get(name)
        if function is None:
            return web.Response(status=HTTPStatus.NOT_FOUND, text=f"cannot find function: '{name}'")
        if request.method == "OPTIONS":
            return web.Response(headers={"WebHook-Allowed-Origin": _ORIGIN})
        return await self._posted(request, function)

    async def _posted(self, request: web.Request, function: Function) -> web.Response:
        match request.headers.get("aeg-event-type", "").lower():
            case "subscriptionvalidation":
                return _validation(await request.read(), function.name)
            case "notification":
                return await self._notification(await request.read(), function)
            case "unsubscribe":
                return web.Response(status=HTTPStatus.ACCEPTED)
            case _:
                return web.Response(status=HTTPStatus.BAD_REQUEST)

    async def _notification(self, body: bytes, function: Function) -> web.Response:
        """Invoke the function once per event, all at once; after one failure, Event Grid sends all events again."""
        try:
            # Not msgspec: the extension's parser accepts NaN and half a surrogate pair, and serializes the result.
            content = json.loads(body)
        except ValueError:
            content = None
        if not isinstance(content, list | dict):
            return web.Response(status=HTTPStatus.INTERNAL_SERVER_ERROR)  # the extension's parser throws
        texts = [json.dumps(event) for event in (content if isinstance(content, list) else [content])]
        results = await asyncio.gather(*(self._invoker.invoke(function, Datum(text, "json")) for text in texts))
        if any(result.error is not None for result in results):
            message = f"Exception while executing function: Functions.{function.name}"
            return web.Response(status=HTTPStatus.INTERNAL_SERVER_ERROR, text=message)
        return web.Response(status=HTTPStatus.ACCEPTED)


def _validation(body: bytes, name: str) -> web.Response:
    try:
        content: Any = msgspec.json.decode(body)
        event = content[0] if isinstance(content, list) else content
        data = event["data"]
        code = (msgspec.json.decode(data) if isinstance(data, str) else data)["validationCode"]
    except (msgspec.DecodeError, LookupError, TypeError):
        return web.Response(status=HTTPStatus.INTERNAL_SERVER_ERROR)  # the extension's parser throws
    log.info("handshake with Event Grid", extra={"function": name})
    # The extension sends JSON as text/plain.
    return web.Response(text=msgspec.json.encode({"validationResponse": code}).decode())
