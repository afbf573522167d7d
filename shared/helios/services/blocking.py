"""The coalescer for callers in threads, such as the requests of a WSGI server."""

import asyncio
from collections.abc import Callable, Sequence
from threading import Thread

from helios.model.events import Delivery, Outcome
from helios.services.batching import Coalescer


class BlockingCoalescer:
    """A ``Coalescer`` with an event loop in a thread of its own, which lives as long as the process."""

    def __init__(self, ingest: Callable[[Sequence[Delivery]], list[Outcome]], *, timeout_seconds: float) -> None:
        """Start the threads. The parameters are those of ``Coalescer``.

        A server that forks must build this in the child, because a fork ends all threads.
        """
        self._coalescer = Coalescer(ingest, timeout_seconds=timeout_seconds)
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="coalescer", daemon=True)
        self._thread.start()

    def submit(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        """Store deliveries, together with those of other threads, and return an outcome for each.

        Raises:
            Retryable: the deliveries may not be stored. The sender must deliver them again.
        """
        return asyncio.run_coroutine_threadsafe(self._coalescer.submit(deliveries), self._loop).result()

    def close(self) -> None:
        """End the threads after the current batch."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._coalescer.close()
