"""Posts events to Helios' webhooks over a few long-lived connections.

A minimal HTTP client: at 1000 requests per second the usual ones take a large share of the CPU from the server that
runs on the same machine.
"""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from typing import Final, cast
from urllib.parse import urlsplit

import httptools
import msgspec

from helios.errors import ConfigurationError
from helios.model.sources import BUILT_IN, Source

from .answers import Answer, Outcome, is_transient, may_have_been_accepted, retryable
from .envelopes import PATHS, body
from .plan import Emission
from .providers import PROVIDERS

REQUEST_TIMEOUT_S: Final = 30.0
CONNECT_TIMEOUT_S: Final = 5.0

_SUCCESS = range(200, 300)
_REJECTING = {400, 413, 415, 422}
_HEADERS: dict[Source, str] = {
    "aws": "content-type: application/json; charset=utf-8\r\n",
    "gcp": "content-type: application/json\r\n",
    "azure": "content-type: application/json; charset=utf-8\r\naeg-event-type: Notification\r\n",
}


class Response(msgspec.Struct):
    """An HTTP response; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Connection(asyncio.Protocol):
    """One HTTP/1.1 connection that sends one request at a time."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._waiter: asyncio.Future[Response] | None = None
        self._transport: asyncio.Transport | None = None

    async def request(self, raw: bytes) -> Response:
        """Send a complete request and return its complete response.

        Raises:
            OSError: the connection broke, the response took too long, or it was not HTTP.
        """
        if self.closed or self._transport is None:
            raise ConnectionResetError("the server closed the connection")
        self._headers, self._body = {}, bytearray()
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(raw)
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                return await self._waiter
        except TimeoutError:
            raise TimeoutError(f"no answer within {REQUEST_TIMEOUT_S:.0f} s") from None
        finally:
            if not self._waiter.done() or self._waiter.cancelled():
                self.close()  # a late response must not be read as that of the next request

    @property
    def closed(self) -> bool:
        """Whether the connection can send no further request."""
        return self._transport is None or self._transport.is_closing()

    def close(self) -> None:
        """Close the connection, even during a request."""
        if self._transport:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio: the connection is open."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's class has the same methods

    def data_received(self, data: bytes) -> None:
        """Asyncio: data was received."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._break(ConnectionError(f"the response is not HTTP: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Asyncio: the connection is closed."""
        self._break(exc or ConnectionResetError("the server closed the connection"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Parser: a header is complete."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, part: bytes) -> None:
        """Parser: a part of the body was read."""
        self._body += part

    def on_message_complete(self) -> None:
        """Parser: the response is complete."""
        response = Response(self._parser.get_status_code(), self._headers, bytes(self._body))
        if not self._parser.should_keep_alive():
            self.close()
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(response)

    def _break(self, error: Exception) -> None:
        self.close()
        if self._waiter and not self._waiter.done():
            self._waiter.set_exception(error)


class Webhook:
    """A Publisher that posts events over HTTP, in the form of the three clouds' deliveries."""

    batch = 1
    concurrency = 32

    def __init__(self, url: str, *, secrets: Mapping[Source, str] | None = None) -> None:
        """Build a publisher for the API at this base URL.

        Args:
            url: the base URL.
            secrets: the secrets with which the events of providers are signed.

        Raises:
            ConfigurationError: it is not an http:// or https:// URL.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigurationError(f"--url {url}: not an http:// or https:// URL, such as http://localhost:8001")
        self._host = parts.hostname
        self._ssl = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._ssl else 80)
        self._idle: list[Connection] = []
        self._secrets = secrets or {}
        self._start = f"POST {parts.path.rstrip('/')}"
        self._host_line = f"host: {parts.netloc.rpartition('@')[2]}"
        self._heads: dict[Source, bytes] = {
            source: (
                f"{self._start}{PATHS[source]} HTTP/1.1\r\n{self._host_line}\r\n{_HEADERS[source]}content-length: "
            ).encode()
            for source in BUILT_IN
        }

    async def publish(self, emissions: Sequence[Emission]) -> list[Answer]:
        """Post each event as one request."""
        return [await self._post(emission) for emission in emissions]

    async def close(self) -> None:
        """Close the idle connections; after the queues have finished there are no others."""
        while self._idle:
            self._idle.pop().close()

    async def _post(self, emission: Emission) -> Answer:
        head, content = self._request(emission)
        raw = b"%s%d\r\n\r\n%s" % (head, len(content), content)
        try:
            connection = await self._connection()
            response = await connection.request(raw)
        except ConnectionRefusedError as error:
            return retryable(str(error))
        except OSError as error:
            return retryable(str(error) or type(error).__name__, maybe_accepted=True)
        if not connection.closed:
            self._idle.append(connection)
        return read(response)

    def _request(self, emission: Emission) -> tuple[bytes, bytes]:
        """The head of the request up to the length of the body, and the body."""
        provider = PROVIDERS.get(emission.source)
        if provider is None:
            return self._heads[emission.source], body(emission)
        headers, content = provider.request(emission, self._secrets[emission.source])
        lines = [f"{self._start}{provider.path} HTTP/1.1", self._host_line, "content-type: application/json"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "content-length: "]).encode(), content

    async def _connection(self) -> Connection:
        """The idle connection that was used last, so that few are open; a new one when none is idle."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            loop = asyncio.get_running_loop()
            return (await loop.create_connection(Connection, self._host, self._port, ssl=self._ssl))[1]


class _Status(msgspec.Struct):
    """The status in the response of a webhook, and the reason of a rejection."""

    status: str = ""
    field: str | None = None
    reason: str | None = None


class _Problem(msgspec.Struct):
    """The parts of a problem document (RFC 9457) that are shown."""

    title: str = ""
    detail: str = ""


_status = msgspec.json.Decoder(_Status)
_problem = msgspec.json.Decoder(_Problem)
_ACCEPTED: dict[str, Outcome] = {"duplicate": "duplicate", "contradictory": "contradictory"}


def read(response: Response) -> Answer:
    """The answer in a webhook's response to a single event."""
    if response.status in _SUCCESS:
        try:
            result = _status.decode(response.body)
        except msgspec.MsgspecError:
            result = _Status()
        if result.status == "rejected":  # a webhook that a provider must not repeat acknowledges dead letters too
            return Answer(outcome="rejected", reason=f"{result.field} {result.reason}")
        return Answer(outcome=_ACCEPTED.get(result.status, "accepted"))
    problem = _read_problem(response)
    reason = f"HTTP {response.status} {problem or 'without a problem document (application/problem+json)'}"
    if is_transient(response.status):
        retry_after = _seconds(response.headers.get("retry-after"))
        return retryable(reason, maybe_accepted=may_have_been_accepted(response.status), retry_after=retry_after)
    # A refusal without an explanation is no verdict on the event: a wrong URL returns the same.
    return Answer(outcome="rejected" if problem and response.status in _REJECTING else "failed", reason=reason)


def _read_problem(response: Response) -> str:
    """The explanation in a problem document; empty if the response has none."""
    if not response.headers.get("content-type", "").startswith("application/problem+json"):
        return ""
    try:
        problem = _problem.decode(response.body)
    except msgspec.MsgspecError:
        return ""
    return problem.detail or problem.title


def _seconds(retry_after: str | None) -> float | None:
    """The seconds in Retry-After. Its other form, a date, is not used by any API here."""
    return float(retry_after) if retry_after and retry_after.isdecimal() else None
