"""The interface of every authenticator, and the error that refuses a request."""

from collections.abc import Mapping
from typing import Protocol

from helios.errors import HeliosError

Headers = Mapping[str, str]
"""The headers of a request. Authenticators look names up in lower case."""


class Refused(HeliosError):  # noqa: N818 - the word of the metric and the log
    """The request is refused, whatever it contains. Helios stores no part of it."""

    def __init__(
        self, reason: str, *, status: int = 401, code: str = "invalid", retry_after_seconds: int | None = None
    ) -> None:
        """Build a refusal.

        Args:
            reason: what is wrong with the credentials and what to send; never the credentials themselves.
            status: 401 for credentials that are missing or invalid, 403 for valid ones without access to this endpoint,
                413 for a body too large to check, 429 for a client that exceeds its rate limit.
            code: the reason in one word, for the metric.
            retry_after_seconds: when a client that exceeds its rate limit may retry.
        """
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.code = code
        self.retry_after_seconds = retry_after_seconds


class Authenticator(Protocol):
    """Checks one kind of credentials. When it can't decide, it raises Retryable, so that the sender retries.

    Attributes:
        reads_body: the credentials cover the body, so the caller reads the body, up to its limit, before the check.
        may_wait: the check may fetch a key, so the caller runs it in a worker thread.
    """

    reads_body: bool
    may_wait: bool

    def applies(self, headers: Headers) -> bool:
        """Whether the request carries this kind of credentials, valid or not."""
        ...

    def check(self, headers: Headers, body: bytes) -> bytes:
        """The message that the credentials cover. Only this message may become deliveries.

        Credentials that identify the sender, and cover no body, return the body as it is.

        Raises:
            Refused: the credentials are not valid.
            Retryable: the check is not possible now.
        """
        ...
