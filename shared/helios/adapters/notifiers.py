"""Bells: over HTTPS from another cloud, several at once, and one that keeps nobody waiting."""

import http.client
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence

from helios.errors import Retryable
from helios.notify import notify_best_effort
from helios.outbound import open_directly
from helios.ports.stream import Notifier

TIMEOUT_SECONDS = 2.0

PAUSE_SECONDS = 0.02
"""Shortest time from the end of one ring in the background to the next: each costs the CPU a few milliseconds."""


class HttpNotifier:
    """Keeps ``Notifier`` with a POST to Helios' API, from a cloud where the relay does not run."""

    def __init__(self, url: str, secret: str) -> None:
        """Ring there.

        Args:
            url: ``https://.../api/v1/relay/notify``.
            secret: what the API asks for; of two, while one is being replaced, the first.
        """
        secret = secret.partition(" ")[0]
        self._request = urllib.request.Request(  # noqa: S310 - the URL is a setting
            url, method="POST", headers={"Authorization": f"Bearer {secret}"}
        )

    def notify(self) -> None:
        """Ask the API to ring."""
        try:
            with open_directly(self._request, timeout_seconds=TIMEOUT_SECONDS):
                pass
        except urllib.error.HTTPError as error:
            with error:
                raise Retryable(f"{self._request.full_url}: {error}") from error
        except (OSError, http.client.HTTPException) as error:
            raise Retryable(f"{self._request.full_url}: {error}") from error


class NotifierGroup:
    """Keeps ``Notifier`` with several: each is rung, whatever became of the one before."""

    def __init__(self, notifiers: Sequence[Notifier]) -> None:
        self._notifiers = notifiers

    def notify(self) -> None:
        """Ring all."""
        failures = []
        for notifier in self._notifiers:
            try:
                notifier.notify()
            except Retryable as error:
                failures.append(str(error))
        if failures:
            raise Retryable("; ".join(failures))


class BackgroundNotifier:
    """Keeps ``Notifier`` without a wait for who rings: a thread does it, once for all that rang meanwhile.

    For processes that live on. A function may be frozen as soon as it has answered, so it never starts the thread, and
    rings by itself.
    """

    def __init__(self, notifier: Notifier) -> None:
        """Pass rings on to this bell, at once and in the caller's thread until ``start`` is called."""
        self._notifier = notifier
        self._notified = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Ring in the background from now on; a ring that nobody hears is then only logged."""
        self._thread = threading.Thread(target=self._run, name="bell", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, after a last ring in case that one is owed."""
        self._stopping.set()
        self._notified.set()
        if self._thread:
            self._thread.join()
            self._thread = None

    def notify(self) -> None:
        """Ring soon: now, or a moment after the ring that is under way."""
        if self._thread:
            self._notified.set()
        else:
            self._notifier.notify()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._notified.wait()
            self._notified.clear()  # before it notifies: a later request may be for newer frames
            notify_best_effort(self._notifier)
            self._stopping.wait(PAUSE_SECONDS)
        if self._notified.is_set():  # during the last pause
            notify_best_effort(self._notifier)
