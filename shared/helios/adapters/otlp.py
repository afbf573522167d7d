"""Sends spans to a collector of OpenTelemetry, as OTLP over HTTP in protobuf.

The messages are OpenTelemetry's own. Its SDK is not used: creating and encoding a span with 500 links takes it 2.5 ms,
a fifth of the time in which Helios stores the batch, and these messages a tenth of that.
"""

import atexit
import http.client
import logging
import secrets
from collections import deque
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from threading import Condition, Thread
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from helios.errors import ConfigurationError
from helios.model.traces import CONTEXT_BYTES
from helios.normalise.traces import packed_contexts, recorded
from helios.outbound import KeptConnection
from helios.ports.tracing import BatchSpan

log = logging.getLogger("helios.otlp")

PATH: Final = "/v1/traces"
"""OpenTelemetry Protocol Specification, "OTLP/HTTP Request": the default path of traces."""

RETRYABLE: Final = frozenset({429, 502, 503, 504})
"""OpenTelemetry Protocol Specification, "Retryable Response Codes"."""

MAX_LINKS: Final = 1000
"""The most links of a span; a batch of one cloud has at most 500 events."""

MAX_SPANS: Final = 64
"""The most spans in a request: with all their links about 2 MB, where collectors take 20 MB by default."""

MAX_WAITING_EVENTS: Final = 50_000
"""Once spans of this many events wait, further spans are dropped: the collector is down, or too slow."""

COLLECT_SECONDS: Final = 1.0
"""How long spans are collected into a request, where the process runs between two batches."""

TIMEOUT_SECONDS: Final = 2.0
REST_SECONDS: Final = 10.0
"""How long nothing is sent after a failure."""


class _Waiting(NamedTuple):
    """A span that is to be sent, with its ids: a repeated request must not be another span."""

    batch: BatchSpan
    trace_id: bytes
    span_id: bytes

    @property
    def events(self) -> int:
        return 1 + len(self.batch.attributes)


class OtlpTracer:
    """Sends each span to a collector; a span that the collector does not take is dropped, and the log counts it.

    A thread encodes and sends the spans while the next batch waits for the database: no batch waits for the collector.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        resource: Mapping[str, str],
        collect_seconds: float = COLLECT_SECONDS,
    ) -> None:
        """Describe the collector. The first span starts the thread, so that a server may fork before.

        Args:
            url: the collector's endpoint, without PATH.
            headers: sent with each request.
            resource: the attributes of what the spans come from: ``service.name`` and others.
            collect_seconds: how long spans are collected into a request. 0: each span is sent as soon as the thread
                runs, where the process may be frozen at any moment after a batch.
        """
        self._connection = KeptConnection(url.rstrip("/") + PATH, timeout_seconds=TIMEOUT_SECONDS)
        self._headers = {**headers, "content-type": "application/x-protobuf"}
        self._resource = [_attribute(name, value) for name, value in resource.items()]
        self._collect_seconds = collect_seconds
        self._changed = Condition()
        self._waiting: deque[_Waiting] = deque()
        self._waiting_events = 0
        self._dropped = 0
        self._closing = False
        self._thread: Thread | None = None

    def record(self, span: BatchSpan) -> None:
        """Send a span soon."""
        waiting = _Waiting(span, secrets.token_bytes(16), secrets.token_bytes(8))
        with self._changed:
            if self._waiting_events > MAX_WAITING_EVENTS:
                self._dropped += 1
                return
            self._waiting.append(waiting)
            self._waiting_events += waiting.events
            if self._thread is None:
                self._thread = Thread(target=self._run, name="otlp", daemon=True)
                self._thread.start()
                atexit.register(self.close)
            self._changed.notify()

    def close(self) -> None:
        """Send what waits, for a moment at most. The end of the process closes the tracer too."""
        atexit.unregister(self.close)
        with self._changed:
            self._closing = True
            self._changed.notify()
            thread = self._thread
        if thread:
            thread.join(2 * TIMEOUT_SECONDS)
        self._connection.close()

    def _run(self) -> None:
        while spans := self._next():
            if self._send(spans):
                continue
            with self._changed:
                if self._closing:
                    return
                self._waiting.extendleft(reversed(spans))
                self._waiting_events += sum(span.events for span in spans)
                self._changed.wait_for(lambda: self._closing, REST_SECONDS)

    def _next(self) -> list[_Waiting]:
        """The next spans, at most one request in the time in which they are collected; none if the tracer is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            self._changed.wait_for(lambda: len(self._waiting) >= MAX_SPANS or self._closing, self._collect_seconds)
            spans = [self._waiting.popleft() for _ in range(min(MAX_SPANS, len(self._waiting)))]
            self._waiting_events -= sum(span.events for span in spans)
            return spans

    def _send(self, spans: Sequence[_Waiting]) -> bool:
        """Send spans, unless the senders of all their events record no trace; False if they may be sent again."""
        body = _encoded(spans, self._resource)
        if not body:
            return True
        try:
            answer = self._connection.post(body, self._headers)
        except (OSError, http.client.HTTPException) as error:
            return self._failed(len(spans), str(error), is_final=False)
        if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            reason = f"HTTP Error {answer.status}: {answer.reason}"
            return self._failed(len(spans), reason, is_final=answer.status not in RETRYABLE)
        self._check(answer.body)
        if self._dropped:
            log.warning("spans dropped", extra={"spans": self._dropped})
            self._dropped = 0
        return True

    def _failed(self, spans: int, reason: str, *, is_final: bool) -> bool:
        """Log a failure; returns ``is_final``, whether the spans are not sent again."""
        log.warning("spans refused" if is_final else "spans not sent", extra={"spans": spans, "error": reason})
        self._dropped += spans * is_final
        return is_final

    def _check(self, body: bytes) -> None:
        """Log what the collector has not taken of a request that succeeded ("Partial Success")."""
        try:
            refusal = ExportTraceServiceResponse.FromString(body).partial_success
        except DecodeError:
            return  # the answer of a proxy, which has passed the request on
        if refusal.rejected_spans:
            log.warning("spans refused", extra={"spans": refusal.rejected_spans, "error": refusal.error_message})


def _encoded(spans: Sequence[_Waiting], resource: Sequence[KeyValue]) -> bytes:
    """The request with these spans, an ExportTraceServiceRequest; empty if none of them is to be recorded."""
    encoded = [_embedded(message) for message in map(_span, spans) if message]
    if not encoded:
        return b""
    scope = ScopeSpans(scope=InstrumentationScope(name="helios"))
    of_scope = b"".join([scope.SerializeToString(), *encoded])
    of_resource = ResourceSpans(resource=Resource(attributes=resource)).SerializeToString() + _embedded(of_scope)
    return _embedded(of_resource, field=1)


def _embedded(message: bytes, field: int = 2) -> bytes:
    """An encoded message as an element of a field of another: field 2 of both ScopeSpans and ResourceSpans.

    Protocol Buffers, "Encoding", "Length-Delimited Records".
    """
    size = bytearray()
    rest = len(message)
    while rest > 0x7F:  # noqa: PLR2004 - 7 bits a byte
        size.append(rest & 0x7F | 0x80)
        rest >>= 7
    size.append(rest)
    return bytes([field << 3 | 2]) + size + message


def _span(waiting: _Waiting) -> bytes:
    """A span; empty if its batch succeeded and has only events of traces that their senders do not record."""
    batch = waiting.batch
    contexts = packed_contexts(batch.attributes)
    linked = recorded(contexts)
    if contexts and not linked and batch.error is None:
        return b""
    span = Span(
        trace_id=waiting.trace_id,
        span_id=waiting.span_id,
        name="ingest",
        kind=Span.SPAN_KIND_CONSUMER,
        start_time_unix_nano=batch.started_ns,
        end_time_unix_nano=batch.ended_ns,
        flags=1,  # recorded
        dropped_links_count=max(0, len(linked) // CONTEXT_BYTES - MAX_LINKS),
        attributes=[
            KeyValue(key="messaging.batch.message_count", value=AnyValue(int_value=batch.deliveries)),
            *(
                KeyValue(key=f"helios.{status}", value=AnyValue(int_value=number))
                for status, number in batch.outcomes.items()
            ),
        ],
    )
    if batch.error is not None:
        span.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message=batch.error))
    message: bytes = span.SerializeToString()
    return message + _links(linked[: MAX_LINKS * CONTEXT_BYTES])


def _links(contexts: bytes) -> bytes:
    """The links of a span to these packed contexts, encoded: to make each as a message takes twenty times as long.

    Each is field 13, with the fields trace_id, span_id and flags; the flags say that the context is a remote one
    (opentelemetry/proto/trace/v1, SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK and SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK). The
    links are filled in by column, since each has the same length.
    """
    links = bytearray(_LINK * (len(contexts) // CONTEXT_BYTES))
    for column, place in enumerate(_PLACES, 1):  # column 0 is the version
        links[place :: len(_LINK)] = contexts[column::CONTEXT_BYTES]
    return bytes(links)


_LINK: Final = bytes.fromhex(f"6a210a10 {'00' * 16} 1208 {'00' * 8} 35 00 030000")
_PLACES: Final = (*range(4, 20), *range(22, 30), 31)
"""Where a link has each byte of its context."""


def _attribute(name: str, value: str) -> KeyValue:
    return KeyValue(key=name, value=AnyValue(string_value=value))


def check_url(variable: str, url: str) -> None:
    """Refuse a URL that is not http:// or https:// with a host.

    Raises:
        ConfigurationError: naming the variable.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ConfigurationError(f"{variable}: not the endpoint of a collector, such as https://collector.example:4318")


def pairs(variable: str, text: str) -> dict[str, str]:
    """The names and values in ``NAME=VALUE,NAME=VALUE``; the values are percent-encoded.

    OpenTelemetry Protocol Exporter, "Specifying headers via environment variables".

    Raises:
        ConfigurationError: an element has no name or no value; it is not shown, because it may be a secret.
    """
    found = {}
    for number, element in enumerate(filter(None, map(str.strip, text.split(","))), 1):
        name, _, value = element.partition("=")
        if not name.strip() or not value.strip():
            raise ConfigurationError(f"{variable}: element {number} is not NAME=VALUE")
        found[name.strip()] = unquote(value.strip())
    return found
