"""Where the spans of ingest go."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from helios.model.events import Status


class BatchSpan(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One attempt to store a batch.

    Attributes:
        started_ns: when it began, in nanoseconds since 1970.
        ended_ns: when it ended.
        deliveries: the number of deliveries.
        outcomes: how many deliveries have each outcome; empty after an error.
        attributes: the attributes of each event that has any: they contain the context in which it was sent. After
            them that of each request that has one, as ``traceparent``.
        error: why the batch was not stored; None if it was.
    """

    started_ns: int
    ended_ns: int
    deliveries: int
    outcomes: Mapping[Status, int] = {}
    attributes: Sequence[Mapping[str, str]] = ()
    error: str | None = None


class Tracer(Protocol):
    """Passes spans on to a system of distributed tracing."""

    def record(self, span: BatchSpan) -> None:
        """Pass on a span. It raises nothing: a span that can't be passed on is dropped and counted in the log."""

    def close(self) -> None:
        """Pass on what waits, and release every resource."""
