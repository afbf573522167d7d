"""The exceptions that Helios raises: by class, whether the sender, the environment or the operator has to act."""

from typing import Final

import msgspec

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding JSON from outside can raise: msgspec lets Python's own errors through."""

DEFECTS: Final = (*UNREADABLE, ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
"""What a bug in Helios raises on a value that the code does not expect. Errors of the machine, the network or a driver
are not among them: no event causes those."""


MAX_QUOTE_CHARS = 200
"""Maximum length of a sender's text in a reason: reasons are answered, stored, grouped by and listed."""


def quote(text: str) -> str:
    """A sender's text in quotation marks, cut to MAX_QUOTE_CHARS."""
    return repr(text) if len(text) <= MAX_QUOTE_CHARS else f"{text[:MAX_QUOTE_CHARS]!r}…"


def _cut(reason: str) -> str:
    """The reason, without its middle if that can only be a long text of the sender: the advice is at the end."""
    if len(reason) <= 2 * MAX_QUOTE_CHARS:
        return reason
    return f"{reason[:MAX_QUOTE_CHARS]}…{reason[-MAX_QUOTE_CHARS:]}"


class HeliosError(Exception):
    """Every error that Helios raises on purpose."""


class Rejected(HeliosError):  # noqa: N818 - the word that the counts, the API and the dashboard use
    """The payload is at fault: sending it again does not help. Helios stores it as a dead letter with the reason."""

    def __init__(self, reason: str, *, field: str, status: int = 400) -> None:
        """Build a rejection.

        Args:
            reason: what is wrong and what to do about it, as a predicate of the field: ``is missing``. The middle of
                one that quotes a long text is left out.
            field: the field at fault, in the sender's spelling: ``detail.amount``, ``header ce-id``, ``body``; cut to
                MAX_QUOTE_CHARS.
            status: the HTTP status that a webhook answers with: 400, 413 or 415.
        """
        self.reason = _cut(reason)
        super().__init__(self.reason)
        self.field = field[:MAX_QUOTE_CHARS]
        self.status = status


class Retryable(HeliosError):  # noqa: N818 - reads as the promise it is
    """The environment is at fault: nothing was acknowledged, and the sender must deliver again."""


class ConflictError(Retryable):
    """Another writer has changed the same rows meanwhile. The same work on the new rows may succeed at once."""


class RulesChanged(Retryable):
    """A flow was approved since this process read the rules. The same work by the new rules may succeed at once."""


class AlreadyStored(ConflictError):  # noqa: N818 - as above
    """An event that was taken for a new one is stored. It may be a duplicate, or contradict the stored one."""


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
