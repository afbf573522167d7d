"""Reads the body of a request, limits its size, checks its type, and splits it into deliveries."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

import msgspec
from fastapi import Request

from helios.errors import UNREADABLE, Rejected, quote
from helios.model.dead_letters import MAX_DEAD_LETTER_BYTES
from helios.model.events import Channel, Delivery, Fault
from helios.model.sources import SourceDeclaration
from helios.normalise import split
from helios.normalise.cloudevents import is_binary_mode
from helios.normalise.headers import UNWRAPPED, contract_headers

T = TypeVar("T")

JSON_TYPES = ("/json", "+json")
PLAIN_TEXT = "text/plain"
"""Amazon SNS posts its JSON as plain text (SNS Developer Guide, "HTTP/HTTPS headers")."""

NO_CODINGS = ("", "identity", "utf-8")
"""Values of Content-Encoding that name no coding. Some senders write the charset there."""

READ_SECONDS = 30.0
"""How long a body may take to arrive. A client that sends slower would hold its connection and a task without end."""

BODY_ARRIVED = "helios.body_arrived"
"""The key in the scope of a request that says that all of the body has arrived. ``helios.api.server`` sets it."""

DRAINED_BYTES = 16 * 1024 * 1024
"""How much beyond the limit is read and dropped, for clients that read the 413 only after they have sent the body."""


UNSIGNED_ATTRIBUTES = Fault(
    reason="is that of binary mode, where the signature does not cover the attributes: send the CloudEvent in "
    "structured mode, as application/cloudevents+json",
    field="header content-type",
    status=415,
)


class Content(NamedTuple):
    """The content of a request, not parsed yet.

    Attributes:
        body: the whole body; of a body that is too large, only the part that a dead letter stores.
        headers: the headers that a channel's contract uses.
        received_at: when the whole body had arrived.
        too_large: whether the body is larger than the limit.
        fault: why the body can't be parsed, or None.
        traceparent: the trace context of the request; empty if it has none.
    """

    body: bytes
    headers: Mapping[str, str]
    received_at: datetime
    too_large: bool
    fault: Fault | None
    traceparent: str = ""

    def signed(self, body: bytes, declared: Collection[str] = ()) -> "Content":
        """The part of this content that a signature covers: ``body``, and no attribute from a header.

        A CloudEvent in binary mode carries a fault instead, because its attributes are headers.

        Args:
            body: the verified body.
            declared: the headers that the declaration of the source reads. Some senders (GitHub, Shopify) name the type
                and the id of an event only in headers, which they do not sign.
        """
        fault = UNSIGNED_ATTRIBUTES if self.fault is None and is_binary_mode(self.headers) else self.fault
        kept = {"content-type", *declared}
        headers = {name: value for name, value in self.headers.items() if name in kept}
        return self._replace(body=body, headers=headers, fault=fault)

    def deliveries(self, channel: Channel, declaration: SourceDeclaration | None = None) -> Sequence[Delivery]:
        """One delivery for each event; a body that can't be parsed becomes one delivery with the fault."""
        if self.fault is None:
            deliveries = split(channel, self.body, self.headers, self.received_at, declaration)
            if not self.traceparent:
                return deliveries
            return [msgspec.structs.replace(delivery, traceparent=self.traceparent) for delivery in deliveries]
        return [
            Delivery(
                channel=channel,
                body=self.body,
                headers=self.headers,
                received_at=self.received_at,
                fault=self.fault,
                declaration=declaration,
            )
        ]


async def receive(request: Request, max_bytes: int, declaration: SourceDeclaration | None = None) -> Content:
    """The content of a request, read up to the limit."""
    body, too_large = await read_body(request, max_bytes)
    items = request.headers.items()
    headers = contract_headers(items, declaration)
    fault = _too_large(max_bytes) if too_large else _repeated(items) or _type_fault(headers)
    first = dict(reversed(items))
    # RFC 9110, section 8.4.1: content codings are case-insensitive.
    encoding = first.get("content-encoding", "").strip().lower()
    if fault is None and encoding not in NO_CODINGS:
        fault = Fault(
            reason=f"is {quote(encoding)}: send the body uncompressed", field="header content-encoding", status=415
        )
    return Content(body, headers, datetime.now(UTC), too_large, fault, first.get("traceparent", ""))


async def read_body(request: Request, max_bytes: int) -> tuple[bytes, bool]:
    """The body and False; of a body that is too large, the part that a dead letter stores and True.

    Raises:
        Rejected: the body did not arrive within READ_SECONDS. The server then closes the connection.
    """
    # A time limit costs more than all the rest.
    limit = nullcontext() if BODY_ARRIVED in request.scope else asyncio.timeout(READ_SECONDS)
    chunks: list[bytes] = []
    size = 0
    try:
        async with limit:
            async for chunk in request.stream():
                size += len(chunk)
                if size <= max_bytes:
                    chunks.append(chunk)
                elif size > max_bytes + DRAINED_BYTES:
                    break
    except TimeoutError as error:
        raise Rejected(f"did not arrive within {READ_SECONDS:g} s", field="body", status=408) from error
    body = b"".join(chunks)
    return (body[:MAX_DEAD_LETTER_BYTES], True) if size > max_bytes else (body, False)


async def read_json(request: Request, decoder: msgspec.json.Decoder[T], max_bytes: int, *, empty: T | None = None) -> T:
    """The decoded body of a request; ``empty``, unless it is None, for a request without a body.

    Raises:
        Rejected: the body is too large, or does not match the decoder's type.
    """
    body, too_large = await read_body(request, max_bytes)
    if too_large:
        raise Rejected(f"is larger than {max_bytes} bytes", field="body", status=413)
    if not body and empty is not None:
        return empty
    try:
        return decoder.decode(body)
    except UNREADABLE as error:
        raise Rejected(str(error), field="request", status=422) from error


def _too_large(max_bytes: int) -> Fault:
    return Fault(reason=f"is larger than {max_bytes} bytes: send fewer events per request", field="body", status=413)


def _repeated(headers: Sequence[tuple[str, str]]) -> Fault | None:
    """The fault of a request with two different values of one CloudEvents attribute: either may be meant."""
    attributes = {(name, value) for name, value in headers if name.startswith("ce-")}
    names = [name for name, _ in attributes]
    if len(names) == len(set(names)):
        return None
    name = next(name for name in names if names.count(name) > 1)
    return Fault(reason="is there twice, with different values: send one", field=f"header {name}", status=400)


def _type_fault(headers: Mapping[str, str]) -> Fault | None:
    if UNWRAPPED in headers:
        return None
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if not media_type or media_type.endswith(JSON_TYPES) or media_type == PLAIN_TEXT:
        return None
    return Fault(reason=f"is {quote(media_type)}: send application/json", field="header content-type", status=415)
