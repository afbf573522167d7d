"""From an HTTP request to deliveries, without trusting its size or its type."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

import msgspec
from fastapi import Request

from helios.errors import UNREADABLE, Rejected, quote
from helios.model.dead_letters import MAX_DEAD_LETTER_BYTES
from helios.model.events import Channel, Delivery, Fault
from helios.normalise import split

T = TypeVar("T")

CONTRACT_HEADERS = ("content-type", "event_type")
CONTRACT_HEADER_PREFIXES = ("ce-", "x-goog-pubsub-")
"""The headers that a contract reads; no other is looked at or kept."""

JSON_TYPES = ("/json", "+json")
PLAIN_TEXT = "text/plain"
"""Amazon SNS posts its JSON as plain text (SNS Developer Guide, "HTTP/HTTPS headers")."""

UNWRAPPED = "x-goog-pubsub-message-id"
"""Marks Pub/Sub's unwrapped push, whose content type is whatever the publisher wrote."""

DRAINED_BODIES = 16
"""How many times the limit is read and dropped, so that a client that only listens at the end hears the 413."""


class Content(NamedTuple):
    """What was read of a request; nothing of it is parsed yet.

    Attributes:
        body: all of it, or what a dead letter keeps of one that is too large.
        headers: those that a contract reads.
        received_at: when it was whole.
        too_large: the body is larger than the limit.
        fault: why it will not be parsed, or None.
    """

    body: bytes
    headers: Mapping[str, str]
    received_at: datetime
    too_large: bool
    fault: Fault | None

    def deliveries(self, channel: Channel) -> Sequence[Delivery]:
        """One for each event; one that is too large or of another type carries its fault."""
        if self.fault is None:
            return split(channel, self.body, self.headers, self.received_at)
        return [
            Delivery(
                channel=channel, body=self.body, headers=self.headers, received_at=self.received_at, fault=self.fault
            )
        ]


async def receive(request: Request, max_bytes: int) -> Content:
    """Read a request, up to the limit."""
    body, too_large = await read_body(request, max_bytes)
    headers = contract_headers(request)
    fault = _too_large(max_bytes) if too_large else _type_fault(headers)
    if fault is None and (encoding := request.headers.get("content-encoding", "identity")) != "identity":
        fault = Fault(reason=f"is {quote(encoding)}: send it uncompressed", field="header content-encoding", status=415)
    return Content(body, headers, datetime.now(UTC), too_large, fault)


def contract_headers(request: Request) -> dict[str, str]:
    """The headers that some contract reads, names in lower case."""
    return {
        name: value
        for name, value in request.headers.items()
        if name in CONTRACT_HEADERS or name.startswith(CONTRACT_HEADER_PREFIXES)
    }


async def read_body(request: Request, max_bytes: int) -> tuple[bytes, bool]:
    """The body, or what a dead letter keeps of it and True."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= max_bytes:
            chunks.append(chunk)
        elif size > max_bytes * DRAINED_BODIES:
            break
    body = b"".join(chunks)
    return (body[:MAX_DEAD_LETTER_BYTES], True) if size > max_bytes else (body, False)


async def read_json(request: Request, decoder: msgspec.json.Decoder[T], max_bytes: int, *, empty: T | None = None) -> T:
    """What a request asks for; ``empty``, if there is such, without a body.

    Raises:
        Rejected: it is too large, or of another shape.
    """
    given, too_large = await read_body(request, max_bytes)
    if too_large:
        raise Rejected(f"is larger than {max_bytes} bytes", field="body", status=413)
    if not given and empty is not None:
        return empty
    try:
        return decoder.decode(given)
    except UNREADABLE as error:
        raise Rejected(str(error), field="request", status=422) from error


def _too_large(max_bytes: int) -> Fault:
    return Fault(reason=f"is larger than {max_bytes} bytes: send less at once", field="body", status=413)


def _type_fault(headers: Mapping[str, str]) -> Fault | None:
    if UNWRAPPED in headers:
        return None
    media_type = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type.endswith(JSON_TYPES) or media_type == PLAIN_TEXT:
        return None
    return Fault(reason=f"is {quote(media_type)}: send application/json", field="header content-type", status=415)
