"""Amazon SNS' certificates: fetched once, and not for everybody who names one."""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

from cryptography import x509

from helios.auth.authenticator import Refused
from helios.auth.keys import Absent, Fetch, fetch
from helios.errors import Retryable

MAX_CERTIFICATES = 16
PAUSE_SECONDS = 1
"""The shortest time between two fetches: nobody has proved anything yet who makes us ask."""

ABSENT_SECONDS = 600
"""How long a certificate that is not there stays so."""

AGAIN_SECONDS = 10
"""The shortest time until one that could not be had is asked for again."""


class _Miss(NamedTuple):
    kind: type[Retryable]
    reason: str
    until: float


class Certificates:
    """By the URL that a message names, which has passed a pinned pattern. Safe to share between threads."""

    def __init__(
        self, *, mirror: str | None, fetch: Fetch = fetch, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Fetch nothing yet; ``mirror`` is the URL of a server that is asked for the same paths instead."""
        self._mirror = mirror
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, x509.Certificate] = {}
        self._missed: dict[str, _Miss] = {}
        self._pause_until = float("-inf")

    def get(self, url: str) -> x509.Certificate:
        """The certificate. One caller at a time fetches one, and no other waits for it.

        Raises:
            Refused: there is none at this URL.
            Retryable: it can't be had now.
        """
        if known := self._known.get(url):
            return known
        if not self._lock.acquire(blocking=False):
            raise Retryable("a certificate is being fetched")
        try:
            return self._known.get(url) or self._fetched(url, self._clock())
        finally:
            self._lock.release()

    def _fetched(self, url: str, now: float) -> x509.Certificate:
        self._missed = {known: miss for known, miss in self._missed.items() if now < miss.until}
        if url not in self._missed:
            if now < self._pause_until:
                raise Retryable("another certificate was fetched just now")
            self._pause_until = now + PAUSE_SECONDS
            try:
                return self._keep(url, x509.load_pem_x509_certificate(self._fetch(self._source(url))))
            except Retryable as error:
                seconds = ABSENT_SECONDS if isinstance(error, Absent) else AGAIN_SECONDS
                self._missed[url] = _Miss(type(error), str(error), now + seconds)
            except ValueError:
                reason = f"what stands at {url} is no certificate"
                self._missed[url] = _Miss(Retryable, reason, now + AGAIN_SECONDS)
        miss = self._missed[url]
        if miss.kind is Absent:
            raise Refused("SigningCertURL names no certificate that there is", code="wrong_key")
        raise Retryable(miss.reason)

    def _keep(self, url: str, certificate: x509.Certificate) -> x509.Certificate:
        if len(self._known) >= MAX_CERTIFICATES:
            self._known.clear()
        self._known[url] = certificate
        return certificate

    def _source(self, url: str) -> str:
        return f"{self._mirror.rstrip('/')}{urlsplit(url).path}" if self._mirror else url
