"""The answer of a statement that is still running."""

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Pending(Generic[T]):
    """The answer of a statement that has begun. Other work can go on until ``result`` is called."""

    __slots__ = ("_read",)

    def __init__(self, read: Callable[[], T]) -> None:
        """Take the function that waits for the answer and reads it."""
        self._read = read

    def result(self) -> T:
        """Wait for the answer, and return it. To be called once.

        Raises:
            Retryable: the statement failed for a reason that passes.
            Rejected: a value in it can't be stored.
        """
        return self._read()
