"""Traces of distributed tracing: where an event was sent, in the terms of the W3C."""

from typing import Final, NamedTuple

import msgspec

CONTEXT_BYTES: Final = 26
"""The length of a packed context: the version 0 (1 byte), the trace's id (16), the span's id (8) and the flags (1)."""


class TraceContext(NamedTuple):
    """The span in which an event was sent (W3C Trace Context, "traceparent Header Field Values").

    Attributes:
        trace_id: 32 hex digits.
        span_id: 16 hex digits; all zero if the sender does not name the span.
        flags: 8 bits, as 2 hex digits; the lowest bit is set if the trace is recorded.
    """

    trace_id: str
    span_id: str
    flags: str

    def packed(self) -> bytes:
        """The context in CONTEXT_BYTES."""
        return bytes.fromhex("00" + self.trace_id + self.span_id + self.flags)


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """The trace to which an event belongs.

    Attributes:
        id: 32 hex digits.
        url: where the trace is shown: HELIOS_TRACE_URL with this id; None if that is not set.
    """

    id: str
    url: str | None
