"""The two ways in which taking in an event can fail, and who has to act."""

from typing import Final

import msgspec

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What it raises to decode JSON of unknown origin: msgspec lets Python's own errors through."""

DEFECTS: Final = (*UNREADABLE, ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
"""What code raises that meets a value it was not written for. Not what the machine, the network or a driver raises: of
those no event is guilty."""


class HeliosError(Exception):
    """Every error that Helios raises on purpose."""


class Rejected(HeliosError):  # noqa: N818 - the word the ledger, the API and the dashboard use
    """The payload is at fault: sending it again will not help, so it is kept with its reason."""

    def __init__(self, reason: str, *, field: str, status: int = 400) -> None:
        """Build a rejection.

        Args:
            reason: what is wrong and what to do about it, in one sentence.
            field: where, in the sender's own spelling: ``detail.amount``, ``header ce-id``, ``body``.
            status: the HTTP status a webhook answers with: 400, 413 or 415.
        """
        super().__init__(reason)
        self.reason = reason
        self.field = field
        self.status = status


class Retryable(HeliosError):  # noqa: N818 - reads as the promise it is
    """The world is at fault: nothing was acknowledged, and the sender must deliver again."""


class TargetUnavailable(Retryable):
    """Whoever was to get something can't take it now; nothing of ours is wrong."""

    def __init__(self, message: str, *, after_seconds: float | None = None) -> None:
        """Build it; ``after_seconds`` is when it wants to be asked again, if it says so."""
        super().__init__(message)
        self.after_seconds = after_seconds


class ConfigurationError(HeliosError):
    """A setting is missing or wrong; the message names the variable and what to write."""
