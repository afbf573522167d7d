"""The certificates of Amazon SNS: fetched once each, at a limited rate."""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

from cryptography import x509

from helios.auth.authenticator import Refused
from helios.auth.keys import RETRY_SECONDS, Fetch, NotFound, fetch
from helios.errors import Retryable

MAX_CERTIFICATES = 16
PAUSE_SECONDS = 1
"""The shortest time between two fetches: the sender that causes a fetch is not authenticated yet."""

NOT_FOUND_SECONDS = 600
"""How long Helios remembers that a certificate does not exist."""


class _Miss(NamedTuple):
    kind: type[Retryable]
    reason: str
    until: float


class Certificates:
    """Certificates by URL. A message names the URL, and the caller has checked it. Safe to share between threads."""

    def __init__(
        self, *, mirror: str | None, fetch: Fetch = fetch, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Fetch nothing yet. ``mirror`` is the URL of a server that serves the same paths and replaces Amazon's."""
        self._mirror = mirror
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._certificates: dict[str, x509.Certificate] = {}
        self._misses: dict[str, _Miss] = {}
        self._pause_until = float("-inf")

    def get(self, url: str) -> x509.Certificate:
        """The certificate at this URL. One caller at a time fetches; the others raise Retryable instead of waiting.

        Raises:
            Refused: there is no certificate at this URL.
            Retryable: the certificate is not available now.
        """
        if certificate := self._certificates.get(url):
            return certificate
        if not self._lock.acquire(blocking=False):
            raise Retryable("another request is fetching a certificate")
        try:
            return self._certificates.get(url) or self._fetch_limited(url, self._clock())
        finally:
            self._lock.release()

    def _fetch_limited(self, url: str, now: float) -> x509.Certificate:
        self._misses = {missed: miss for missed, miss in self._misses.items() if now < miss.until}
        if url not in self._misses:
            if now < self._pause_until:
                raise Retryable(f"Helios fetches at most one certificate in {PAUSE_SECONDS} s")
            self._pause_until = now + PAUSE_SECONDS
            try:
                return self._store(url, x509.load_pem_x509_certificate(self._fetch(self._fetch_url(url))))
            except Retryable as error:
                seconds = NOT_FOUND_SECONDS if isinstance(error, NotFound) else RETRY_SECONDS
                self._misses[url] = _Miss(type(error), str(error), now + seconds)
            except ValueError:
                self._misses[url] = _Miss(Retryable, f"{url} is not a certificate", now + RETRY_SECONDS)
        miss = self._misses[url]
        if miss.kind is NotFound:
            raise Refused(
                "No certificate exists at SigningCertURL. Send the message as SNS signed it.", code="wrong_key"
            )
        raise Retryable(miss.reason)

    def _store(self, url: str, certificate: x509.Certificate) -> x509.Certificate:
        if len(self._certificates) >= MAX_CERTIFICATES:
            self._certificates.clear()
        self._certificates[url] = certificate
        return certificate

    def _fetch_url(self, url: str) -> str:
        return f"{self._mirror.rstrip('/')}{urlsplit(url).path}" if self._mirror else url
