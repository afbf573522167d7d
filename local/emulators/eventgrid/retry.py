"""The rules of retries and of giving up: Microsoft's "Event Grid message delivery and retry"."""

import random
from typing import NamedTuple

from local.emulators.eventgrid.subscription import RetryPolicy

SCHEDULE_SECONDS = (10, 30, 60, 300, 600, 1800, 3600, 10_800, 21_600, 43_200)
"""The wait before each further attempt; the last one repeats."""
RESPONSE_SECONDS = 30
"""How long an endpoint has to answer."""
DELIVERED = frozenset({200, 201, 202, 203, 204})
"""The only status codes that count as success."""
NOT_RETRIED = frozenset({400, 401, 403, 413})
"""The row "Webhook" of the page's table."""

_AT_LEAST_SECONDS = {408: 120, 503: 30}
"""Status codes after which Event Grid waits longer ("Failure codes")."""
_JITTER = 0.1
"""The page mentions "a small randomization" without a number."""

_OUTCOMES = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    408: "TimedOut",
    413: "PayloadTooLarge",
    429: "Busy",
    503: "Busy",
}
TIMED_OUT, NOT_CONNECTED, OTHER = "TimedOut", "SocketError", "GenericError"


class RetryAfter(NamedTuple):
    """Deliver again after this many seconds."""

    seconds: float


class GiveUp(NamedTuple):
    """Stop delivering, for this reason: Azure's ``deadLetterReason``."""

    reason: str


def outcome(status: int) -> str:
    """Azure's ``lastDeliveryOutcome`` for a status code."""
    return _OUTCOMES.get(status, OTHER)


def after_failure(status: int | None, attempts: int, policy: RetryPolicy) -> RetryAfter | GiveUp:
    """The next step after a failed attempt.

    This function ignores the time to live: Event Grid checks it only when the next attempt is due.

    Args:
        status: the status of the endpoint's answer, or None without an answer.
        attempts: the number of attempts, this one included.
        policy: the subscription's retry policy.
    """
    if status in NOT_RETRIED:
        return GiveUp(f"UndeliverableDueToHttp{outcome(status)}")
    if attempts >= policy.max_delivery_attempts:
        return GiveUp("MaxDeliveryAttemptsExceeded")
    step = SCHEDULE_SECONDS[min(attempts, len(SCHEDULE_SECONDS)) - 1]
    wait = max(step, _AT_LEAST_SECONDS.get(status, 0)) if status else step
    return RetryAfter(wait * (1 + random.uniform(0, _JITTER)))  # noqa: S311 - jitter is no secret


def expired(published: float, now: float, policy: RetryPolicy, scale: float) -> GiveUp | None:
    """The reason to give up an event that is due and too old, otherwise None; times in seconds since the epoch."""
    if now - published > policy.event_time_to_live_in_minutes * 60 * scale:
        return GiveUp("TimeToLiveExceeded")
    return None
