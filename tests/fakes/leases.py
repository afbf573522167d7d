"""Leases in memory."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class MemoryLease:
    """Implements ``Lease``: it is never lost."""

    is_held = True


class MemoryLeases:
    """Implements ``Leases`` for the threads of one process."""

    def __init__(self) -> None:
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    @contextmanager
    def take(self, name: str, *, patience_seconds: float = 0) -> Iterator[MemoryLease | None]:
        """Hold a lease until the block ends; None if another thread holds it."""
        lock = self._locks[name]
        is_taken = lock.acquire(timeout=patience_seconds) if patience_seconds else lock.acquire(blocking=False)
        try:
            yield MemoryLease() if is_taken else None
        finally:
            if is_taken:
                lock.release()

    def is_taken(self, name: str) -> bool:
        """Whether a thread holds a lease now."""
        return self._locks[name].locked()
