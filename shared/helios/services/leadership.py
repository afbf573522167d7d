"""Which of several processes does the periodic work."""

import logging
import threading
from typing import Final

from helios.errors import Retryable
from helios.ports.leases import Lease, Leases

PERIODIC: Final = "periodic"
"""The lease of the process that does the periodic work."""

PROJECTOR: Final = "projector"
"""The lease of one of the projectors, which says that there is one. All of them work."""

CHECK_SECONDS: Final = 1.0
"""How often another process asks for the lease, and how soon the holder notices that it has lost it."""

log = logging.getLogger("helios.leadership")


class Leadership:
    """Whether this process does some work, by default the periodic work: sweep, incidents, archive, retention.

    A thread holds the lease as long as it can. When the holder ends, another process has it within CHECK_SECONDS; when
    the holder dies or hangs, after LEASE_SECONDS more.
    """

    def __init__(self, leases: Leases, work: str = PERIODIC) -> None:
        self._leases = leases
        self._work = work
        self._lease: Lease | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leadership", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Give the lease back, and end the thread."""
        self._stopping.set()
        self._thread.join()

    @property
    def is_held(self) -> bool:
        """Whether this process does the work now."""
        lease = self._lease
        return lease is not None and lease.is_held

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._hold()
            except Retryable as error:
                log.warning("no holder is known", extra={"lease": self._work, "error": str(error)})
            except Exception:  # a bug must not end the work of a process that still serves requests
                log.exception("the lease was lost", extra={"lease": self._work})
            self._stopping.wait(CHECK_SECONDS)

    def _hold(self) -> None:
        """Hold the lease, if no other process does, until it is lost or the process stops."""
        with self._leases.take(self._work) as lease:
            self._lease = lease
            try:
                while self.is_held and not self._stopping.wait(CHECK_SECONDS):
                    pass
            finally:
                self._lease = None
