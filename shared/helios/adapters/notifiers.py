"""Notifiers: one that posts over HTTPS from another cloud, a group of several, and ones that hold up no request."""

import http.client
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from http import HTTPStatus
from typing import Final

from helios.errors import Retryable
from helios.notify import notify_best_effort
from helios.outbound import KeptConnection
from helios.ports.stream import Notifier

TIMEOUT_SECONDS = 2.0

HTTP_INTERVAL_SECONDS: Final = 0.2
"""The shortest time between two notifications over HTTPS. Each starts a function in another cloud."""

HTTP_WAIT_SECONDS: Final = 0.05
"""The longest time that a notification over HTTPS holds up the request that caused it."""

PAUSE_SECONDS = 0.02
"""The shortest time between two notifications in the background. Each takes a few milliseconds of CPU time."""


class HttpNotifier:
    """Implements ``Notifier`` with a POST to the API, from a cloud where the relay does not run.

    It keeps one connection, and sends one request at a time. A redirect is not followed, because the request carries a
    secret: it counts as a failure, like every other answer that is not a success.
    """

    def __init__(self, url: str, secret: str) -> None:
        """Take the endpoint to notify. The first notification connects.

        Args:
            url: ``https://.../api/v1/relay/notify``.
            secret: the secret that the API requires. During a rotation there are two, and the first is sent.
        """
        self._url = url
        self._headers = {"Authorization": f"Bearer {secret.partition(' ')[0]}"}
        self._connection = KeptConnection(url, timeout_seconds=TIMEOUT_SECONDS)
        self._turn = threading.Lock()

    def notify(self) -> None:
        """Ask the API to notify the relay."""
        with self._turn:
            try:
                status, reason, _ = self._connection.post(b"", self._headers)
            except (OSError, http.client.HTTPException) as error:
                raise Retryable(f"{self._url}: {error}") from error
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            raise Retryable(f"{self._url}: HTTP Error {status}: {reason}")

    def close(self) -> None:
        """Close the connection."""
        with self._turn:
            self._connection.close()


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


class PacedNotifier:
    """Implements ``Notifier`` with a thread that sends at most one notification per interval, one at a time.

    All requests during a notification, and until the interval after it is over, become one notification. The thread
    sends it at the end of the interval, whether or not another request comes, and at the latest when the process ends.
    A cloud that freezes the process between two requests delays it until the next request. The relay does not depend on
    it then: it looks for new frames again after the interval (``services.relay.LINGER_SECONDS``).

    A failed notification is logged.
    """

    def __init__(self, notifier: Notifier, *, interval_seconds: float, wait_seconds: float) -> None:
        """Take the notifier that the thread calls. The first request starts the thread, since a fork would end it.

        Args:
            notifier: sends a notification.
            interval_seconds: the shortest time between the starts of two notifications.
            wait_seconds: how long a caller waits for its notification, unless the interval takes longer anyway.
        """
        self._notifier = notifier
        self._interval_seconds = interval_seconds
        self._wait_seconds = wait_seconds
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="notifier")
        self._lock = threading.Lock()
        self._next_at = float("-inf")
        self._waiting: Future[None] | None = None
        self._is_closed = False

    def notify(self) -> None:
        """Notify now, or as soon as the interval is over."""
        with self._lock:
            if self._is_closed:
                return
            if self._waiting is None:
                self._waiting = self._thread.submit(self._send)
            waiting, is_soon = self._waiting, self._next_at - time.monotonic() < self._wait_seconds
        if is_soon:
            wait([waiting], timeout=self._wait_seconds)

    def close(self) -> None:
        """End the thread, after a last notification if one is pending. Later requests do nothing."""
        with self._lock:
            self._is_closed = True
        self._thread.shutdown()

    def _send(self) -> None:
        time.sleep(max(0.0, self._next_at - time.monotonic()))
        with self._lock:
            self._waiting = None  # before notifying: a later request may be for newer frames
            self._next_at = time.monotonic() + self._interval_seconds
        notify_best_effort(self._notifier)


class PacedHttpNotifier(PacedNotifier):
    """A paced ``HttpNotifier``, which it closes."""

    def __init__(self, url: str, secret: str) -> None:
        """Take the endpoint to notify, as ``HttpNotifier`` does."""
        self._http = HttpNotifier(url, secret)
        super().__init__(self._http, interval_seconds=HTTP_INTERVAL_SECONDS, wait_seconds=HTTP_WAIT_SECONDS)

    def close(self) -> None:
        """End the thread, after a last notification if one is pending, and close the connection."""
        super().close()
        self._http.close()


class BackgroundNotifier:
    """Implements ``Notifier`` without blocking the caller, for a process that runs for long.

    A cloud may freeze a function as soon as it has answered, so a function never calls ``start``, and notifies in the
    caller's thread.
    """

    def __init__(self, notifier: Notifier) -> None:
        """Take the notifier to call: immediately in the caller's thread, until ``start`` is called."""
        self._notifier = notifier
        self._paced: PacedNotifier | None = None

    def start(self) -> None:
        """Notify in the background from now on. A notification that fails is then only logged."""
        self._paced = PacedNotifier(self._notifier, interval_seconds=PAUSE_SECONDS, wait_seconds=0)

    def stop(self) -> None:
        """End the thread, after a last notification if one is pending."""
        if self._paced:
            self._paced.close()

    def notify(self) -> None:
        """Notify soon: immediately, or shortly after the notification in progress."""
        (self._paced or self._notifier).notify()
