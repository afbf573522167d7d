"""What tokens and signatures are checked with: fetched over HTTPS, never redirected, and remembered."""

import http.client
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

import jwt
import msgspec

from helios.errors import UNREADABLE, Retryable

Fetch = Callable[[str], bytes]
"""What stands at a URL. Raises Retryable when that can't be had."""

TIMEOUT_SECONDS = 5
MAX_BYTES = 262_144
FRESH_SECONDS = 3600
"""After this a key set is fetched anew; until that works the one at hand goes on being used."""

AGAIN_SECONDS = 10
"""The shortest time between two fetches: a sender of made-up key ids must not make us ask for each of them."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Follow none: a redirect could lead to any address inside the network."""


def fetch(url: str) -> bytes:
    """What stands at this URL, which comes from a setting or has passed a pinned pattern.

    Raises:
        Retryable: it can't be had, or is no plausible key.
    """
    try:
        with urllib.request.build_opener(_NoRedirect).open(url, timeout=TIMEOUT_SECONDS) as answer:
            content: bytes = answer.read(MAX_BYTES + 1)
    except (OSError, http.client.HTTPException) as error:
        raise Retryable(f"the keys at {url} can't be had: {error}") from error
    if len(content) > MAX_BYTES:
        raise Retryable(f"the keys at {url} are larger than {MAX_BYTES} bytes")
    return content


class KeySet:
    """The keys of one JSON Web Key Set (RFC 7517), by key id. Safe to share between threads."""

    def __init__(self, url: str, *, fetch: Fetch = fetch, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the URL; nothing is fetched yet."""
        self._url = url
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: Mapping[str, Any] = {}
        self._fetched_at = self._tried_at = float("-inf")
        self._failure: Retryable | None = None

    def get(self, key_id: str) -> Any | None:
        """The key of this id; None if the set, seen within the last seconds, has none.

        Raises:
            Retryable: the key is not known, and the set can't be had now.
        """
        now = self._clock()
        known = self._keys.get(key_id)  # looked up once: another thread may put a new set in its place
        if known is not None and now - self._fetched_at < FRESH_SECONDS:
            return known
        with self._lock:
            if now - self._tried_at >= AGAIN_SECONDS:
                self._renew(now)
            key = self._keys.get(key_id)
            if key is None and self._failure:
                raise self._failure
            return key

    def _renew(self, now: float) -> None:
        self._tried_at = now
        try:
            self._keys = _usable(self._fetch(self._url))
            self._fetched_at, self._failure = now, None
        except jwt.PyJWTError as error:
            self._failure = Retryable(f"what stands at {self._url} is no key set: {error}")
        except Retryable as error:
            self._failure = error


def _usable(content: bytes) -> Mapping[str, Any]:
    """The RSA keys of a set, by id. Another kind could turn a public key into a shared secret."""
    try:
        found = jwt.PyJWKSet.from_dict(msgspec.json.decode(content, type=dict[str, Any]))
    except UNREADABLE as error:
        raise jwt.PyJWKSetError(str(error)) from error
    return {key.key_id: key.key for key in found.keys if key.key_id and key.key_type == "RSA"}
