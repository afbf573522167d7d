"""Authenticates the webhooks' senders; no body is parsed or stored before its sender is authenticated."""

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
from helios.model.events import Channel, Delivery, entry_point
from helios.model.sources import SourceDeclaration
from helios.normalise import BODY_BYTES

Count = Callable[[str, str, str], None]
"""Takes an entry point, an authenticator, and a result: ``admitted``, ``loopback``, ``undecided`` or a refusal's code.

The name of the authenticator is empty if the request had no credentials to check.
"""


LARGE_BODY_BYTES = 128 * 1024
"""A larger body is divided by a thread, so that the requests of others continue meanwhile."""


class WebhookReceiver:
    """Turns the requests of authenticated senders into deliveries; every webhook uses it."""

    def __init__(
        self, webhook_auth: WebhookAuth, *, max_body_bytes: int | None, dashboard_origin: str, count: Count
    ) -> None:
        """Build it.

        Args:
            webhook_auth: the authenticators of each channel.
            max_body_bytes: the largest body; None: the largest that a cloud sends to the channel.
            dashboard_origin: the web origin of the dashboard.
            count: called with each result.
        """
        self._auth = webhook_auth
        self._max_body_bytes = max_body_bytes
        self._dashboard_origin = dashboard_origin
        self._count = count

    async def deliveries(
        self, request: Request, channel: Channel, declaration: SourceDeclaration | None = None
    ) -> Sequence[Delivery]:
        """The deliveries in a request of an authenticated sender.

        Args:
            request: the request.
            channel: the format of the body.
            declaration: the declared source whose endpoint it is; None: the endpoint is that of the channel.

        Raises:
            Refused: the sender is not authenticated for this channel.
            Retryable: the credentials can't be checked now, because a key is unavailable.
        """
        content = await self.admit(request, channel, declaration)
        if len(content.body) <= LARGE_BODY_BYTES:
            return content.deliveries(channel, declaration)
        return await run_in_threadpool(content.deliveries, channel, declaration)

    async def admit(self, request: Request, channel: Channel, declaration: SourceDeclaration | None = None) -> Content:
        """The content of a request of an authenticated sender.

        Raises:
            Refused: the sender is not authenticated for this channel.
            Retryable: the credentials can't be checked now, because a key is unavailable.
        """
        name, endpoint = "", entry_point(channel, declaration)
        try:
            local = is_local(request, self._dashboard_origin)
            name, authenticator = self._auth.authenticator(
                channel, request.headers, local=local, declaration=declaration
            )
            if authenticator and not authenticator.reads_body:
                await _check(authenticator, request.headers, b"")
            limit = self._max_body_bytes or BODY_BYTES[channel]
            content = await receive(request, limit, declaration)
            if authenticator and authenticator.reads_body:
                declared = declaration.headers if declaration else ()
                verified = await _check_body(authenticator, request.headers, content, limit)
                content = content.signed(verified, declared)
        except Refused as error:
            self._count(endpoint, name, error.code)
            raise
        except Retryable:
            self._count(endpoint, name, "undecided")
            raise
        self._count(endpoint, name, "admitted" if authenticator else "loopback")
        return content


async def _check(authenticator: Authenticator, headers: Mapping[str, str], body: bytes) -> bytes:
    if authenticator.may_wait:
        return await run_in_threadpool(authenticator.check, headers, body)
    return authenticator.check(headers, body)


async def _check_body(authenticator: Authenticator, headers: Mapping[str, str], content: Content, limit: int) -> bytes:
    """The verified part of the content: what was verified is what is stored."""
    if content.too_large:
        raise Refused(f"The body is larger than {limit} bytes.", status=413, code="oversized")
    return await _check(authenticator, headers, content.body)


HOST = re.compile(
    r"(?:(?P<name>localhost|[0-9.]+)|\[(?P<six>[0-9A-Fa-f:.]+)\])(?::[0-9]{1,5})?", re.ASCII | re.IGNORECASE
)
"""A Host header that may name this machine (RFC 9110, section 7.2)."""


_OTHER_SITES = frozenset({"cross-site", "same-site"})


def is_local(request: HTTPConnection, dashboard_origin: str) -> bool:
    """Whether a request comes from this machine, to this machine, under a loopback name.

    The address that the connection reached, the address it came from and the Host must be loopback. So a request does
    not count as local because the server listens on every interface, because of a tunnel, or because a web page points
    its own name at 127.0.0.1. A request of a web page counts only if the page is the dashboard or comes from this API,
    and not from another program on this machine. Browsers send the Origin with every POST, and mark other requests with
    ``Sec-Fetch-Site`` (W3C, Fetch Metadata Request Headers).
    """
    headers: dict[bytes, tuple[bytes, ...]] = {}
    for name, value in request.scope["headers"]:
        if name in _DECISIVE:
            headers[name] = (*headers.get(name, ()), value)
    server, client = request.scope.get("server"), request.scope.get("client")
    values = [headers.get(name, ()) for name in _DECISIVE]
    is_short = sum(len(value) for each in values for value in each) <= CACHED_BYTES
    decide = _is_local if is_short else _is_local.__wrapped__
    return decide(server[0] if server else "", client[0] if client else "", dashboard_origin, *values)


_DECISIVE = (b"host", b"origin", b"sec-fetch-site")

CACHED_BYTES = 512
"""The most bytes of headers for which the decision is cached, so that senders can't fill the memory."""


@lru_cache(maxsize=256)  # most requests of one sender have the same values, and parsing them is expensive
def _is_local(
    server: str,
    client: str,
    dashboard_origin: str,
    hosts: Sequence[bytes],
    origins: Sequence[bytes],
    sites: Sequence[bytes],
) -> bool:
    """``is_local`` of the addresses, and of the values of the headers in _DECISIVE."""
    host = _text(hosts)
    ends = (server, client, _host(host))
    return all(_loopback(end) for end in ends) and _is_own_page(host, _text(origins), _text(sites), dashboard_origin)


def _text(values: Sequence[bytes]) -> list[str]:
    return [value.decode("latin-1") for value in values]


def _is_own_page(hosts: Sequence[str], origins: Sequence[str], sites: Sequence[str], dashboard_origin: str) -> bool:
    """Whether the request is of the dashboard or of a page of this API, or of no page at all."""
    if origins:
        own = {f"{scheme}://{hosts[0]}" for scheme in ("http", "https")}
        return all(origin in own | {dashboard_origin} and _loopback(_origin_host(origin)) for origin in origins)
    return _OTHER_SITES.isdisjoint(sites)


def _host(headers: Sequence[str]) -> str:
    """The host in the only Host header; empty for any other text, and for no header or several.

    Not ``request.url``, which has the server's own address if there is no Host header.
    """
    match = HOST.fullmatch(headers[0]) if len(headers) == 1 else None
    return (match["name"] or match["six"]).lower() if match else ""


def _origin_host(origin: str) -> str:
    """The host of an Origin (RFC 6454); empty for ``null``, the opaque origin of a page."""
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:
        return ""


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
