"""The answer to a published event, and the publisher protocol."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Literal, Protocol, get_args

import msgspec

from .plan import Emission

Outcome = Literal["accepted", "duplicate", "contradictory", "rejected", "failed"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one event.

    Attributes:
        outcome: ``accepted``: new. ``duplicate`` and ``contradictory``: accepted and recognised as already known.
            ``rejected``: refused because of its content. ``failed``: not accepted for any other reason.
        reason: why the event was not accepted.
        retryable: True when the failure may be temporary, so that the event must be sent again.
        maybe_accepted: True when the event may have been accepted despite the failure, so that a retry may be a
            duplicate.
        retry_after: how long the receiver asks the sender to wait before a retry, in seconds.
        event_id: the id that the cloud assigned, where that is not the publisher's.
    """

    outcome: Outcome
    reason: str = ""
    retryable: bool = False
    maybe_accepted: bool = False
    retry_after: float | None = None
    event_id: str | None = None


class Publisher(Protocol):
    """Sends events through one channel.

    Attributes:
        batch: the largest number of events in one call.
        concurrency: the largest number of concurrent calls.
    """

    batch: int
    concurrency: int

    async def publish(self, emissions: Sequence[Emission]) -> list[Answer]:
        """Send these events and return their answers, in the same order. A network error is an answer, not raised."""

    async def close(self) -> None:
        """Close connections and threads."""


def retryable(reason: str, *, maybe_accepted: bool = False, retry_after: float | None = None) -> Answer:
    """The answer for an event that was not accepted, but may be after a retry."""
    return Answer(
        outcome="failed", reason=reason, retryable=True, maybe_accepted=maybe_accepted, retry_after=retry_after
    )


_TRANSIENT = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


def may_have_been_accepted(status: int) -> bool:
    """Whether a request with this HTTP status may have had its effect: the receiver failed while processing it."""
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.SERVICE_UNAVAILABLE


def is_transient(status: int) -> bool:
    """Whether a request with this HTTP status may succeed when it is sent again unchanged."""
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRANSIENT
