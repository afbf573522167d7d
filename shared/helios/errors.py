"""The exceptions that Helios raises: by class, whether the sender, the environment or the operator has to act."""

from typing import Final

import msgspec

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding JSON from outside can raise: msgspec lets Python's own errors through."""

DEFECTS: Final = (*UNREADABLE, ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
"""What a bug in Helios raises on a value that the code does not expect. Errors of the machine, the network or a driver
are not among them: no event causes those."""


class HeliosError(Exception):
    """Every error that Helios raises on purpose."""


class Rejected(HeliosError):  # noqa: N818 - the word that the counts, the API and the dashboard use
    """The payload is at fault: sending it again does not help. Helios stores it as a dead letter with the reason."""

    def __init__(self, reason: str, *, field: str, status: int = 400) -> None:
        """Build a rejection.

        Args:
            reason: what is wrong and what to do about it, as a predicate of the field: ``is missing``.
            field: the field at fault, in the sender's spelling: ``detail.amount``, ``header ce-id``, ``body``.
            status: the HTTP status that a webhook answers with: 400, 413 or 415.
        """
        super().__init__(reason)
        self.reason = reason
        self.field = field
        self.status = status


class Retryable(HeliosError):  # noqa: N818 - reads as the promise it is
    """The environment is at fault: nothing was acknowledged, and the sender must deliver again."""


class TargetUnavailable(Retryable):
    """The receiver of an event can't take it now; nothing in Helios is wrong."""

    def __init__(self, message: str, *, after_seconds: float | None = None) -> None:
        """Build the error.

        Args:
            message: what the target answered, or why it could not be reached.
            after_seconds: how long the target asks Helios to wait before the next try; None: it does not say.
        """
        super().__init__(message)
        self.after_seconds = after_seconds


class TargetUnresolved(TargetUnavailable):
    """The receiver's name has no address now: the name is wrong, or the name server does not answer."""


class ConfigurationError(HeliosError):
    """A setting is missing or wrong; the message names the variable and what to write."""
