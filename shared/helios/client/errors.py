"""The error that every method of the client raises."""

from collections.abc import Sequence

from helios.errors import HeliosError
from helios.shapes import FieldError


class ApiError(HeliosError):
    """The API can't be reached, or answers with an error; the message says which and why.

    Attributes:
        status: the HTTP status of the answer; None: there was no usable answer.
        errors: the fields of the request that the API refuses, each with the reason; empty for other errors.
        retry_after_seconds: how long the API asks the client to wait before the next try; None: it does not say.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        errors: Sequence[FieldError] = (),
        retry_after_seconds: float | None = None,
    ) -> None:
        """Build the error from its message and attributes."""
        super().__init__(message)
        self.status = status
        self.errors = tuple(errors)
        self.retry_after_seconds = retry_after_seconds

    @property
    def is_temporary(self) -> bool:
        """Whether the same request may succeed later: no answer, 408, 429, or an error of the server."""
        return self.status is None or self.status in {408, 429} or self.status >= 500  # noqa: PLR2004 - HTTP's classes
