"""Notifiers: one that posts over HTTPS from another cloud, a group of several, and one in the background."""

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
"""The shortest pause between two notifications in the background. Each takes a few milliseconds of CPU time."""


class HttpNotifier:
    """Implements ``Notifier`` with a POST to the API, from a cloud where the relay does not run."""

    def __init__(self, url: str, secret: str) -> None:
        """Take the endpoint to notify.

        Args:
            url: ``https://.../api/v1/relay/notify``.
            secret: the secret that the API requires. During a rotation there are two, and the first is sent.
        """
        secret = secret.partition(" ")[0]
        self._request = urllib.request.Request(  # noqa: S310 - the URL is a setting
            url, method="POST", headers={"Authorization": f"Bearer {secret}"}
        )

    def notify(self) -> None:
        """Ask the API to notify the relay."""
        try:
            with open_directly(self._request, timeout_seconds=TIMEOUT_SECONDS):
                pass
        except urllib.error.HTTPError as error:
            with error:
                raise Retryable(f"{self._request.full_url}: {error}") from error
        except (OSError, http.client.HTTPException) as error:
            raise Retryable(f"{self._request.full_url}: {error}") from error


class NotifierGroup:
    """Implements ``Notifier`` with several notifiers. One that fails does not stop the others."""

    def __init__(self, notifiers: Sequence[Notifier]) -> None:
        self._notifiers = notifiers

    def notify(self) -> None:
        """Notify through each of them, and raise the failures together."""
        failures = []
        for notifier in self._notifiers:
            try:
                notifier.notify()
            except Retryable as error:
                failures.append(str(error))
        if failures:
            raise Retryable("; ".join(failures))


class BackgroundNotifier:
    """Implements ``Notifier`` without blocking the caller: a thread sends one notification for all pending requests.

    This is for long-running processes. A cloud may freeze a function as soon as it has answered, so a function never
    starts the thread, and notifies in the caller's thread.
    """

    def __init__(self, notifier: Notifier) -> None:
        """Take the notifier to call: immediately in the caller's thread, until ``start`` is called."""
        self._notifier = notifier
        self._notified = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Notify in the background from now on. A notification that fails is then only logged."""
        self._thread = threading.Thread(target=self._run, name="notifier", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, after a last notification if one is pending."""
        self._stopping.set()
        self._notified.set()
        if self._thread:
            self._thread.join()
            self._thread = None

    def notify(self) -> None:
        """Notify soon: immediately, or shortly after the notification in progress."""
        if self._thread:
            self._notified.set()
        else:
            self._notifier.notify()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._notified.wait()
            self._notified.clear()  # before notifying: a later request may be for newer frames
            notify_best_effort(self._notifier)
            self._stopping.wait(PAUSE_SECONDS)
        if self._notified.is_set():  # a request came during the last pause
            notify_best_effort(self._notifier)
