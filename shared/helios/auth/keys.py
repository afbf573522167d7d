"""Public keys that verify tokens and signatures: fetched over HTTPS without following redirects, and cached."""

import http.client
import threading
import time
import urllib.error
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any

import jwt
import msgspec

from helios.errors import UNREADABLE, Retryable
from helios.outbound import open_directly

Fetch = Callable[[str], bytes]
"""Returns the content at a URL. Raises Retryable when the content is not available."""

TIMEOUT_SECONDS = 5
"""The longest time for a fetch, from the DNS query to the last byte of the response."""

MAX_BYTES = 262_144
NOT_FOUND_STATUSES = (403, 404, 410)
"""Statuses that mean that nothing exists at the URL. An S3 bucket that may not be listed answers 403."""

FRESH_SECONDS = 3600
"""The age at which a key set is fetched again. Until that succeeds, the cached key set stays in use."""

RETRY_SECONDS = 10
"""The shortest time between two fetches of one URL: a sender of invented key ids must not cause a fetch for each."""


_in_flight: set[str] = set()
"""The URLs whose response is outstanding."""

_in_flight_lock = threading.Lock()


class NotFound(Retryable):
    """There is nothing at the URL: its server answered 403, 404 or 410."""


def fetch(url: str) -> bytes:
    """The content at this URL, within TIMEOUT_SECONDS. The URL comes from a setting or matches a pinned pattern.

    A thread of its own sends the request, because a socket's timeout ends neither a slow DNS lookup nor a response that
    arrives byte by byte. A request that takes longer goes on in its thread, and Helios sends no other request to that
    URL until it has ended.

    Raises:
        NotFound: there is nothing at the URL.
        Retryable: the content is not available, or too large to be keys.
    """
    with _in_flight_lock:
        if url in _in_flight:
            raise Retryable(f"an earlier request for the keys at {url} has not ended yet")
        _in_flight.add(url)
    content: Future[bytes] = Future()
    threading.Thread(target=_fetch_into, args=(content, url), name="keys", daemon=True).start()
    try:
        return content.result(TIMEOUT_SECONDS)
    except TimeoutError as error:
        raise Retryable(f"no response from {url} within {TIMEOUT_SECONDS} s") from error


def _fetch_into(content: "Future[bytes]", url: str) -> None:
    try:
        complete = partial(content.set_result, _read(url))
    except Exception as error:  # noqa: BLE001 - ``fetch`` raises it
        complete = partial(content.set_exception, error)
    with _in_flight_lock:
        _in_flight.discard(url)
    complete()


def _read(url: str) -> bytes:
    try:
        with open_directly(url, timeout_seconds=TIMEOUT_SECONDS) as response:
            content: bytes = response.read(MAX_BYTES + 1)
    except urllib.error.HTTPError as error:
        with error:
            kind = NotFound if error.code in NOT_FOUND_STATUSES else Retryable
            raise kind(f"the keys at {url} are not available: {error}") from error
    except (OSError, http.client.HTTPException) as error:
        raise Retryable(f"the keys at {url} are not available: {error}") from error
    if len(content) > MAX_BYTES:
        raise Retryable(f"the keys at {url} are larger than {MAX_BYTES} bytes")
    return content


class KeySet:
    """The keys of one JSON Web Key Set (RFC 7517), by key id. Safe to share between threads."""

    def __init__(self, url: str, *, fetch: Fetch = fetch, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the URL. Nothing is fetched yet."""
        self._url = url
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: Mapping[str, Any] = {}
        self._fetched_at = self._tried_at = float("-inf")
        self._failure = ""  # the message only: an exception that is raised repeatedly holds the frames of every caller

    def get(self, key_id: str) -> Any | None:
        """The key with this id; None if the key set, fetched within the last RETRY_SECONDS, has no such key.

        One caller at a time fetches the key set, and no other waits for it. Otherwise an issuer that hangs would delay
        senders whose key is cached, and a sender of invented key ids could occupy every thread.

        Raises:
            Retryable: the key is not cached, and the key set is not available now.
        """
        now = self._clock()
        cached = self._keys.get(key_id)  # looked up once: another thread may replace the key set
        if cached is not None and now - self._fetched_at < FRESH_SECONDS:
            return cached
        if not self._lock.acquire(blocking=False):
            if cached is None:
                raise Retryable(f"another request is fetching the keys at {self._url}")
            return cached
        try:
            if now - self._tried_at >= RETRY_SECONDS:
                self._refresh(now)
            key = self._keys.get(key_id)
            if key is None and self._failure:
                raise Retryable(self._failure)
            return key
        finally:
            self._lock.release()

    def _refresh(self, now: float) -> None:
        self._tried_at = now
        try:
            self._keys = _rsa_keys(self._fetch(self._url))
            self._fetched_at, self._failure = now, ""
        except jwt.PyJWTError as error:
            self._failure = f"{self._url} is not a JSON Web Key Set: {error}"
        except Retryable as error:
            self._failure = str(error)


def _rsa_keys(content: bytes) -> Mapping[str, Any]:
    """The RSA keys of a key set, by id. A key of another type could turn a public key into a shared secret."""
    try:
        key_set = jwt.PyJWKSet.from_dict(msgspec.json.decode(content, type=dict[str, Any]))
    except UNREADABLE as error:
        raise jwt.PyJWKSetError(str(error)) from error
    return {key.key_id: key.key for key in key_set.keys if key.key_id and key.key_type == "RSA"}
