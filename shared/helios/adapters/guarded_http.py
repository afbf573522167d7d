"""POSTs to a URL from outside: only to an address that was checked, without redirects, and within a time limit."""

import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

import msgspec

from helios.errors import ConfigurationError, Rejected, TargetUnavailable, TargetUnresolved

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

SECONDS: Final = 10.0
"""The longest time for a request, from the first byte that is sent to the last byte that is read."""

RESOLVE_SECONDS: Final = 5.0
"""The longest time for the look-up of a host name."""

MAX_ANSWER_BYTES: Final = 65_536
MAX_PORT: Final = 65_535

FORBIDDEN_NETWORKS: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        "169.254.0.0/16",  # link-local, and the metadata of AWS, Google Cloud and Azure
        "fe80::/10",
        "fec0::/10",  # site-local, which RFC 3879 deprecates
        "fd00:ec2::/32",  # the metadata of AWS
        "fd20:ce::/32",  # the metadata of Google Cloud
        "fd00:c1::a9fe:a9fe/128",  # the metadata of Oracle Cloud
        "fd00:42::42/128",  # the metadata of Scaleway
        "100.100.100.200/32",  # the metadata of Alibaba Cloud
        "168.63.129.16/32",  # Azure's platform services for virtual machines
        "192.0.0.192/32",  # the metadata of Oracle Cloud
    )
)
"""Addresses that no host may resolve to, even if a setting allows the host."""

PRIVATE: Final = "a private address"

_NAT64: Final = tuple(ipaddress.ip_network(network) for network in ("64:ff9b::/96", "64:ff9b:1::/48"))
"""RFC 6052, section 2.1, and RFC 8215."""

_ISATAP: Final = (0x0000_5EFE, 0x0200_5EFE)
"""The third quarter of an address that embeds an IPv4 address in the last one (RFC 5214, section 6.1)."""

DEFAULT_PORT: Final = 443
ANY_PORT: Final = "*"


class Host(msgspec.Struct, frozen=True):
    """A host that Helios may send events to.

    Attributes:
        name: its host name, in lower case.
        may_be_private: whether it may have an address of a private network.
        port: the only port that Helios connects to; None: any port.
    """

    name: str
    may_be_private: bool
    port: int | None = DEFAULT_PORT


_ENTRY: Final = re.compile(
    r"(?P<private>private:)?(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))(?::(?P<port>[0-9]{1,5}|\*))?",
    re.ASCII | re.IGNORECASE,
)


def hosts_of(setting: str) -> list[Host]:
    """The hosts in HELIOS_REPLAY_HOSTS: ``HOST``, ``HOST:PORT`` or ``HOST:*``. An IPv6 address is in brackets.

    Raises:
        ConfigurationError: an entry has another form.
    """
    return [_host(entry) for entry in setting.split()]


def _host(entry: str) -> Host:
    parts = _ENTRY.fullmatch(entry)
    port = (parts["port"] if parts else None) or str(DEFAULT_PORT)
    if not parts or (port != ANY_PORT and not 0 < int(port) <= MAX_PORT):
        raise ConfigurationError(
            f"HELIOS_REPLAY_HOSTS: invalid entry {entry!r}. Write HOST, HOST:PORT or HOST:*, with private: in front of "
            "a host with a private address."
        )
    name = (parts["six"] or parts["name"]).lower()
    return Host(name, bool(parts["private"]), None if port == ANY_PORT else int(port))


class Answer(NamedTuple):
    """The status of a response, and its headers."""

    status: int
    headers: http.client.HTTPMessage

    @property
    def retry_after_seconds(self) -> float | None:
        """How long the server asks to wait; None: it does not say."""
        return _seconds(self.headers.get("Retry-After"))


class Endpoint:
    """A URL to post to.

    Attributes:
        name: the host name.
    """

    def __init__(self, url: SplitResult, *, private: bool, loopback: bool, field: str, private_hint: str) -> None:
        """Take the URL. Nothing is resolved or connected yet.

        Args:
            url: what ``parsed`` returned.
            private: whether the host may have an address of a private network.
            loopback: whether this machine itself is allowed.
            field: the name of the URL for errors.
            private_hint: how to allow a private address.
        """
        self.name = url.hostname or ""
        self._url = url
        self._private = private
        self._loopback = loopback
        self._field = field
        self._private_hint = private_hint

    def connection(self) -> "PinnedConnection":
        """A connection to the current addresses of the host, which are resolved and checked here only.

        Raises:
            Rejected: an address is forbidden.
            TargetUnresolved: the host has no address now.
        """
        port = port_of(self._url)
        addresses = _resolve(self.name, port)
        if fault := _fault(addresses, private=self._private, loopback=self._loopback):
            hint = f": {self._private_hint}" if fault.endswith(PRIVATE) else ""
            raise Rejected(f"{fault}{hint}", field=self._field)
        context = ssl.create_default_context() if self._url.scheme == "https" else None
        return PinnedConnection(self.name, port, [str(address) for address in addresses], context)

    def post(self, connection: "PinnedConnection", body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post a body. Redirects are not followed.

        Raises:
            TargetUnavailable: the server does not answer in time.
        """
        path = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
        return _exchange(connection, path, body, headers, self.name)


def _resolve(name: str, port: int) -> list[Address]:
    """The addresses of a host name.

    A thread of its own asks, because a look-up has no timeout: a silent name server may hold it for half a minute.

    Raises:
        TargetUnresolved: there are none, or the name server has not answered within RESOLVE_SECONDS.
    """
    found: Future[list[Address]] = Future()

    def look_up() -> None:
        try:
            entries = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
            found.set_result([ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in entries])
        except Exception as error:  # noqa: BLE001 - the caller raises it
            found.set_exception(error)

    threading.Thread(target=look_up, name="resolve", daemon=True).start()
    try:
        return found.result(RESOLVE_SECONDS)
    except TimeoutError as error:
        raise TargetUnresolved(f"{name} can't be resolved within {RESOLVE_SECONDS:g} s") from error
    except (OSError, UnicodeError) as error:
        raise TargetUnresolved(f"{name} can't be resolved: {error}") from error


def check_host(name: str, port: int, *, private: bool, loopback: bool) -> None:
    """Return if every present address of a host is allowed, for a library that connects on its own.

    Raises:
        Rejected: an address is forbidden.
        TargetUnresolved: the host has no address now.
    """
    if fault := _fault(_resolve(name, port), private=private, loopback=loopback):
        raise Rejected(fault, field=name)


def _fault(addresses: Sequence[Address], *, private: bool, loopback: bool) -> str | None:
    for address in addresses:
        if reason := forbidden(address, private=private, loopback=loopback):
            return f"resolves to {address}, {reason}"
    return None


def forbidden(address: Address, *, private: bool, loopback: bool) -> str | None:
    """The reason why Helios may not send to an address; None if it may.

    Args:
        address: the resolved address of a host.
        private: whether an address of a private network is allowed.
        loopback: whether an address of this machine is allowed.
    """
    if isinstance(address, ipaddress.IPv6Address) and int(address) >> 32 & 0xFFFF_FFFF in _ISATAP:
        return "an ISATAP address, which embeds another one"
    address = _embedded(address)
    if address.is_loopback:
        return None if loopback else "this machine itself"
    if any(address in network for network in FORBIDDEN_NETWORKS) or address.is_link_local:
        return "a link-local or metadata address"
    if address.is_multicast or address.is_unspecified or address.is_reserved:
        return "not the address of a single host"
    if not address.is_global and not private:
        return PRIVATE
    return None


def _embedded(address: Address) -> Address:
    """The IPv4 address in an IPv6 address that is mapped, 6to4, Teredo or NAT64; otherwise the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    teredo = address.teredo
    inner = address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)
    if inner is None and any(address in network for network in _NAT64):
        inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return inner or address


class PinnedConnection(http.client.HTTPConnection):
    """Connects to the first of these addresses that answers, even if the host name resolves to others by then."""

    def __init__(self, host: str, port: int, addresses: Sequence[str], context: ssl.SSLContext | None) -> None:
        super().__init__(host, port, timeout=SECONDS)
        self._addresses = addresses
        self._context = context
        self.timed_out = False

    def connect(self) -> None:
        """Connect to the first address that answers."""
        self.sock = self._open_socket()
        if self._context:
            self.sock = self._context.wrap_socket(self.sock, server_hostname=self.host)

    def _open_socket(self) -> socket.socket:
        *others, last = self._addresses
        for address in others:
            with suppress(OSError):
                return socket.create_connection((address, self.port), self.timeout)
        return socket.create_connection((last, self.port), self.timeout)

    def abort(self) -> None:
        """Shut the socket down, which wakes the thread that reads from it."""
        self.timed_out = True
        if self.sock:
            self.sock.shutdown(socket.SHUT_RDWR)


def _exchange(connection: PinnedConnection, path: str, body: bytes, headers: Mapping[str, str], host: str) -> Answer:
    """The status and headers of the response to a POST. A body longer than MAX_ANSWER_BYTES closes the connection."""
    watch = threading.Timer(SECONDS, _abort, [connection])  # a socket's own timeout restarts with each byte
    watch.start()
    try:
        connection.request("POST", path, body, dict(headers))
        response = connection.getresponse()
        if len(response.read(MAX_ANSWER_BYTES + 1)) > MAX_ANSWER_BYTES:
            connection.close()
        if connection.timed_out:  # http.client takes the end of a connection for the end of the headers
            raise TimeoutError(f"the response took more than {SECONDS:g} s")
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        raise TargetUnavailable(f"{host} does not answer: {error or type(error).__name__}") from error
    finally:
        watch.cancel()
    return Answer(response.status, response.headers)


def _abort(connection: PinnedConnection) -> None:
    with suppress(OSError):  # the connection has ended already
        connection.abort()


def parsed(url: str, *, field: str) -> SplitResult:
    """The parts of a URL.

    Raises:
        Rejected: the URL is malformed.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Rejected(f"is not a URL: {error}", field=field) from error
    if parts.scheme not in {"https", "http"} or not parts.hostname or parts.username is not None or port == 0:
        raise Rejected("is not https://HOST/PATH, without a user", field=field)
    if any(character <= " " or character >= "\x7f" for character in url):
        raise Rejected("contains a character that is not allowed in a URL: percent-encode it", field=field)
    return parts


def port_of(url: SplitResult) -> int:
    """The port of a URL."""
    return url.port or (443 if url.scheme == "https" else 80)


def _seconds(retry_after: str | None) -> float | None:
    """The seconds to wait, from a number of seconds or a date (RFC 9110, section 10.2.3)."""
    if retry_after is None:
        return None
    if retry_after.isascii() and retry_after.isdecimal() and len(retry_after) < len("1000000"):
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None
