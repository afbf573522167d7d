"""Leases: work that one process at a time does, whichever of them dies."""

from contextlib import AbstractContextManager
from typing import Final, Protocol

LEASE_SECONDS: Final = 10.0
"""How long a lease lasts after its holder has extended it, and so the longest time for which a dead one holds it."""

PATIENCE_SECONDS: Final = LEASE_SECONDS + 2
"""How long a command waits for a lease, so that it does not fail because an earlier one has just been killed."""


class Lease(Protocol):
    """A lease that this process has taken, and extends until it gives it back or dies."""

    @property
    def is_held(self) -> bool:
        """Whether no other process can have taken it since: False after the store could not be reached for too long."""


class Leases(Protocol):
    """The leases of one database."""

    def take(self, name: str, *, patience_seconds: float = 0) -> AbstractContextManager[Lease | None]:
        """Hold a lease until the block ends; None if another process holds it.

        The next process may take it as soon as the block has ended, or LEASE_SECONDS after this process has died.

        Args:
            name: the work.
            patience_seconds: how long to wait for another process.

        Raises:
            Retryable: the store can't be reached.
        """

    def is_taken(self, name: str) -> bool:
        """Whether a process holds a lease now, or has died less than LEASE_SECONDS ago.

        Raises:
            Retryable: the store can't be reached.
        """
