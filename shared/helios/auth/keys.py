"""What tokens and signatures are checked with: fetched over HTTPS, never redirected, and remembered."""

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
"""What stands at a URL. Raises Retryable when that can't be had."""

TIMEOUT_SECONDS = 5
"""From the first question to the last byte, whatever the name server and the issuer do meanwhile."""

MAX_BYTES = 262_144
GONE = (403, 404, 410)
"""What says for certain that there is nothing. A store of files that may not be listed says 403."""

FRESH_SECONDS = 3600
"""After this a key set is fetched anew; until that works the one at hand goes on being used."""

AGAIN_SECONDS = 10
"""The shortest time between two fetches: a sender of made-up key ids must not make us ask for each of them."""


_awaited: set[str] = set()
"""The URLs of which an answer is still to come."""

_awaiting = threading.Lock()


class Absent(Retryable):
    """There is nothing at the URL, and whoever has it says so (403, 404, 410)."""


def fetch(url: str) -> bytes:
    """What stands at this URL, which comes from a setting or has passed a pinned pattern; within TIMEOUT_SECONDS.

    It is asked for in a thread of its own, as no timeout of a socket ends the search for a name, or an answer that
    drips. One that has not come by then is left alone, and until it has nobody asks there again.

    Raises:
        Absent: there is nothing.
        Retryable: it can't be had, or is no plausible key.
    """
    with _awaiting:
        if url in _awaited:
            raise Retryable(f"the keys at {url} are still awaited")
        _awaited.add(url)
    answer: Future[bytes] = Future()
    threading.Thread(target=_ask, args=(url, answer), name="keys", daemon=True).start()
    try:
        return answer.result(TIMEOUT_SECONDS)
    except TimeoutError as error:
        raise Retryable(f"the keys at {url} did not come within {TIMEOUT_SECONDS} s") from error


def _ask(url: str, answer: "Future[bytes]") -> None:
    try:
        settle = partial(answer.set_result, _read(url))
    except Exception as error:  # noqa: BLE001 - raised where it is awaited
        settle = partial(answer.set_exception, error)
    with _awaiting:
        _awaited.discard(url)
    settle()


def _read(url: str) -> bytes:
    try:
        with open_directly(url, timeout_seconds=TIMEOUT_SECONDS) as answer:
            content: bytes = answer.read(MAX_BYTES + 1)
    except urllib.error.HTTPError as error:
        with error:
            kind = Absent if error.code in GONE else Retryable
            raise kind(f"the keys at {url} can't be had: {error}") from error
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
        self._failure = ""  # its words only: an exception that is raised again and again keeps every caller's frames

    def get(self, key_id: str) -> Any | None:
        """The key of this id; None if the set, seen within the last seconds, has none.

        One caller at a time fetches the set, and no other waits for it: an issuer that hangs must not hold up those
        whose key is known, nor let whoever makes up key ids fill every thread.

        Raises:
            Retryable: the key is not known, and the set can't be had now.
        """
        now = self._clock()
        known = self._keys.get(key_id)  # looked up once: another thread may put a new set in its place
        if known is not None and now - self._fetched_at < FRESH_SECONDS:
            return known
        if not self._lock.acquire(blocking=False):
            if known is None:
                raise Retryable(f"the keys at {self._url} are being fetched")
            return known
        try:
            if now - self._tried_at >= AGAIN_SECONDS:
                self._renew(now)
            key = self._keys.get(key_id)
            if key is None and self._failure:
                raise Retryable(self._failure)
            return key
        finally:
            self._lock.release()

    def _renew(self, now: float) -> None:
        self._tried_at = now
        try:
            self._keys = _usable(self._fetch(self._url))
            self._fetched_at, self._failure = now, ""
        except jwt.PyJWTError as error:
            self._failure = f"what stands at {self._url} is no key set: {error}"
        except Retryable as error:
            self._failure = str(error)


def _usable(content: bytes) -> Mapping[str, Any]:
    """The RSA keys of a set, by id. Another kind could turn a public key into a shared secret."""
    try:
        found = jwt.PyJWKSet.from_dict(msgspec.json.decode(content, type=dict[str, Any]))
    except UNREADABLE as error:
        raise jwt.PyJWKSetError(str(error)) from error
    return {key.key_id: key.key for key in found.keys if key.key_id and key.key_type == "RSA"}
