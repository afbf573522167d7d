"""The one door to the webhooks: nothing of a request is read or kept before its sender has shown who it is."""

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from urllib.parse import urlsplit

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from helios.api.receive import Content, receive
from helios.auth.authenticator import Authenticator, Refused
from helios.auth.webhook_auth import WebhookAuth
from helios.errors import Retryable
from helios.model.events import Channel, Delivery

Count = Callable[[Channel, str, str], None]
"""By way in and guard: ``admitted``, ``loopback``, ``undecided`` or the refusal's code.

The name is empty where nothing was checked, as no proof was presented.
"""


class WebhookReceiver:
    """Turns the requests of those who may send into deliveries; there is no other way to them."""

    def __init__(self, webhook_auth: WebhookAuth, *, max_body_bytes: int, dashboard_origin: str, count: Count) -> None:
        """Take the guards, the largest body, and who counts."""
        self._auth = webhook_auth
        self._max_body_bytes = max_body_bytes
        self._dashboard_origin = dashboard_origin
        self._count = count

    async def deliveries(self, request: Request, channel: Channel) -> Sequence[Delivery]:
        """The deliveries in a request.

        Raises:
            Refused: its sender may not send here.
            Retryable: whether it may can't be known now.
        """
        return (await self.admit(request, channel)).deliveries(channel)

    async def admit(self, request: Request, channel: Channel) -> Content:
        """What was read of a request whose sender may send here.

        Raises:
            Refused: it may not.
            Retryable: whether it may can't be known now.
        """
        name = ""
        try:
            local = is_local(request, self._dashboard_origin)
            name, authenticator = self._auth.authenticator(channel, request.headers, local=local)
            if authenticator and not authenticator.reads_body:
                await _check(authenticator, request.headers, b"")
            content = await receive(request, self._max_body_bytes)
            if authenticator and authenticator.reads_body:
                await _check_body(authenticator, request.headers, content, self._max_body_bytes)
        except Refused as error:
            self._count(channel, name, error.code)
            raise
        except Retryable:
            self._count(channel, name, "undecided")
            raise
        self._count(channel, name, "admitted" if authenticator else "loopback")
        return content


async def _check(authenticator: Authenticator, headers: Mapping[str, str], body: bytes) -> None:
    if authenticator.may_wait:
        await run_in_threadpool(authenticator.check, headers, body)
    else:
        authenticator.check(headers, body)


async def _check_body(authenticator: Authenticator, headers: Mapping[str, str], content: Content, limit: int) -> None:
    if content.too_large:
        raise Refused(f"the body is larger than {limit} bytes", status=413, code="oversized")
    await _check(authenticator, headers, content.body)


HOST = re.compile(
    r"(?:(?P<name>localhost|[0-9.]+)|\[(?P<six>[0-9A-Fa-f:.]+)\])(?::[0-9]{1,5})?", re.ASCII | re.IGNORECASE
)
"""A Host that may be this machine's own (RFC 9110, section 7.2)."""


_OTHER_SITES = frozenset({"cross-site", "same-site"})


def is_local(request: HTTPConnection, dashboard_origin: str) -> bool:
    """Whether a request was made on this machine, to this machine, in its own name.

    The address that the connection reached, the one that it came from and the Host must be of the loopback. So a
    request does not count through a server that is bound to every interface, through a tunnel, or from a web page that
    points its own name at 127.0.0.1. A request of a web page counts only if the page is the dashboard or comes from
    this API, and not from another program on this machine. Browsers send the Origin with every POST, and mark other
    requests with ``Sec-Fetch-Site`` (W3C, Fetch Metadata Request Headers).
    """
    ends = (request.scope.get("server"), request.scope.get("client"))
    hosts = [end[0] if end else "" for end in ends] + [_host(request.headers.getlist("host"))]
    return all(_loopback(host) for host in hosts) and _is_own_page(request, dashboard_origin)


def _is_own_page(request: HTTPConnection, dashboard_origin: str) -> bool:
    """Whether the request is of the dashboard or of a page of this API, or of no page at all."""
    if origins := request.headers.getlist("origin"):
        own = {f"{scheme}://{request.headers['host']}" for scheme in ("http", "https")}
        return all(origin in own | {dashboard_origin} and _loopback(_origin_host(origin)) for origin in origins)
    return _OTHER_SITES.isdisjoint(request.headers.getlist("sec-fetch-site"))


def _host(given: Sequence[str]) -> str:
    """The host that the one header names; empty for any other text, and for none or several.

    Not ``request.url``, which has the server's own address where the header is none.
    """
    found = HOST.fullmatch(given[0]) if len(given) == 1 else None
    return (found["name"] or found["six"]).lower() if found else ""


def _origin_host(origin: str) -> str:
    """The host that an Origin names (RFC 6454); empty for ``null``, which a page says that has none to show."""
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:
        return ""


@lru_cache(maxsize=256)  # most requests of one sender name the same three hosts, and each is dear to read
def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
