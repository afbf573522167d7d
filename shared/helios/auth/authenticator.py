"""What a guard promises, and how it says no."""

from collections.abc import Mapping
from typing import Protocol

from helios.errors import HeliosError

Headers = Mapping[str, str]
"""A request's headers; names are looked up in lower case."""


class Refused(HeliosError):  # noqa: N818 - the word of the metric and the log
    """The request is not let in, whatever it contains; nothing of it is kept."""

    def __init__(
        self, reason: str, *, status: int = 401, code: str = "invalid", retry_after_seconds: int | None = None
    ) -> None:
        """Build a refusal.

        Args:
            reason: what is wrong with the proof; never the proof itself.
            status: 401 for a proof that is absent or does not hold, 403 for one that holds but opens nothing here,
                413 for a body too large to be checked, 429 for who asks too often.
            code: the same in one word, for the metric.
            retry_after_seconds: when to come again, for who asks too often.
        """
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.code = code
        self.retry_after_seconds = retry_after_seconds


class Authenticator(Protocol):
    """Checks one kind of proof. A guard that can't decide raises Retryable, so that the sender comes again.

    Attributes:
        reads_body: the proof covers the body, which is therefore read, up to its limit, before it is checked.
        may_wait: checking may fetch a key, and so belongs into a worker thread.
    """

    reads_body: bool
    may_wait: bool

    def applies(self, headers: Headers) -> bool:
        """Whether the request claims to carry this proof."""
        ...

    def check(self, headers: Headers, body: bytes) -> None:
        """Return if the proof holds.

        Raises:
            Refused: it does not.
            Retryable: that can't be known now.
        """
        ...
