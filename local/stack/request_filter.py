"""Refuses requests of web pages: the local servers trust this machine, and a browser on it shows pages of other sites.

This module imports the standard library only: ministack runs it in an environment without Helios.
"""

import argparse
import ipaddress
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http import HTTPStatus
from typing import Any, NamedTuple

_Scope = MutableMapping[str, Any]
_Send = Callable[[_Scope], Awaitable[None]]
_Receive = Callable[[], Awaitable[_Scope]]
_AsgiApplication = Callable[[_Scope, _Receive, _Send], Awaitable[None]]

_HOST = re.compile(r"(?:([A-Za-z0-9._-]+)|\[([0-9A-Fa-f:.]+)\])(?::[0-9]{1,5})?", re.ASCII)
"""RFC 9110, section 7.2: a name or an address, and perhaps a port."""
_OTHER_SITES = frozenset({"cross-site", "same-site"})


class RequestFilter(NamedTuple):
    """The rule of one server.

    The rule has three parts, as each one stops another attack. The Host must name the loopback: a page that resolves
    its own name to 127.0.0.1 (DNS rebinding) sends its own name. The Origin, which a browser adds to every POST, must
    be an accepted one. ``Sec-Fetch-Site`` marks requests without an Origin: links, images, scripts. A page can set none
    of these headers. SDKs and curl send no Origin and no ``Sec-Fetch-Site``.

    Attributes:
        origins: the origins whose pages may send requests.
        hosts: the names, besides those of the loopback, that requests may address the server by.
        links: whether a page of another site may link to this server.
    """

    origins: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    links: bool = False

    def refusal(self, method: str, headers: Iterable[tuple[str, str]]) -> str | None:
        """The reason why the request is refused, or None. The names of the headers must be in lower case."""
        values: dict[str, list[str]] = {}
        for name, value in headers:
            values.setdefault(name, []).append(value)
        if not self._addressed(values.get("host", [])):
            return "The Host must name this machine."
        origins = values.get("origin", [])
        if not self.origins.issuperset(origins):
            return "Web pages of this Origin may not send requests to this server."
        sites = values.get("sec-fetch-site", [])
        if not origins and not _OTHER_SITES.isdisjoint(sites) and not self._is_link(method, values):
            return "Web pages of other sites may not send requests to this server."
        return None

    def _addressed(self, hosts: list[str]) -> bool:
        match = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if match is None:
            return False
        host = (match[1] or match[2]).lower()
        return host in self.hosts or _is_loopback(host)

    def _is_link(self, method: str, values: dict[str, list[str]]) -> bool:
        mode, destination = values.get("sec-fetch-mode"), values.get("sec-fetch-dest")
        return self.links and method == "GET" and mode == ["navigate"] and destination == ["document"]


LOOPBACK_ONLY = RequestFilter()
"""The rule of a server that no page uses."""


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--allow-host``, from which ``hosts`` reads the names."""
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="accept requests whose Host has this name, as containers send them (default: only loopback names)",
    )


def hosts(options: argparse.Namespace) -> frozenset[str]:
    """The names that the command line accepts."""
    return frozenset(name.lower() for name in options.allow_host)


class AsgiFilter:
    """An ASGI application behind a filter."""

    def __init__(self, application: _AsgiApplication, rule: RequestFilter) -> None:
        """Protect an application."""
        self._application = application
        self._rule = rule

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer one request, or one WebSocket handshake."""
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        reason = self._rule.refusal(scope.get("method", "GET"), headers)
        if reason is None:
            await self._application(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})  # before the handshake: servers answer 403
        else:
            body = reason.encode()
            fields = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": HTTPStatus.FORBIDDEN, "headers": fields})
            await send({"type": "http.response.body", "body": body})


class WsgiFilter:
    """A WSGI application behind a filter."""

    def __init__(self, application: Callable[..., Iterable[bytes]], rule: RequestFilter) -> None:
        """Protect an application."""
        self._application = application
        self._rule = rule

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        headers = [
            (name.removeprefix("HTTP_").replace("_", "-").lower(), value)
            for name, value in environ.items()
            if name.startswith("HTTP_")
        ]
        reason = self._rule.refusal(environ["REQUEST_METHOD"], headers)
        if reason is None:
            return self._application(environ, start_response)
        status = HTTPStatus.FORBIDDEN
        start_response(f"{status.value} {status.phrase}", [("Content-Type", "text/plain; charset=utf-8")])
        return [reason.encode()]


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
