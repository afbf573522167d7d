"""What a publisher is told of an event it sent, and what a publisher promises."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Literal, Protocol, get_args

import msgspec

from .plan import Emission

Outcome = Literal["accepted", "duplicate", "contradictory", "rejected", "failed"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The reply for one event.

    Attributes:
        outcome: ``accepted``: taken. ``duplicate`` and ``contradictory``: taken, and recognised as already known.
            ``rejected``: refused because of what it says. ``failed``: not taken for any other reason.
        reason: why it was not accepted.
        again: True when ``failed`` may pass, so that it must be sent again.
        maybe_taken: True when it may have been taken all the same, so that sent again it comes twice.
        after: how long the receiver asks to wait before that, in seconds.
        event_id: the id that the cloud gave it, where that is not the publisher's.
    """

    outcome: Outcome
    reason: str = ""
    again: bool = False
    maybe_taken: bool = False
    after: float | None = None
    event_id: str | None = None


class Publisher(Protocol):
    """Sends events one way.

    Attributes:
        batch: the most events that one call takes.
        concurrency: how many calls may be under way at once.
    """

    batch: int
    concurrency: int

    async def publish(self, emissions: Sequence[Emission]) -> list[Answer]:
        """Send these events; the answers are in the same order. A fault of the network is an answer, not an error."""

    async def close(self) -> None:
        """Let go of connections and threads."""


def try_again(reason: str, *, maybe_taken: bool = False, after: float | None = None) -> Answer:
    """The answer for an event that was not taken, but may be later."""
    return Answer(outcome="failed", reason=reason, again=True, maybe_taken=maybe_taken, after=after)


_PASSING = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


def may_have_been_taken(status: int) -> bool:
    """Whether a request that was answered with this HTTP status may have had its effect: the receiver failed within."""
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.SERVICE_UNAVAILABLE


def may_pass(status: int) -> bool:
    """Whether a request that was answered with this HTTP status may succeed when it is sent again unchanged."""
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _PASSING
