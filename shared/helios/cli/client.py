"""Asks Helios' API over HTTP; only the standard library, so that the command line runs wherever Python does."""

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec

from helios.errors import ConfigurationError, HeliosError
from helios.model.paging import Page
from helios.model.stream import StreamFrame
from helios.outbound import open_directly

T = TypeVar("T")

TOKEN = "HELIOS_TOKEN"  # noqa: S105 - the variable's name
"""The environment variable that holds the token of whoever asks."""
TIMEOUT_SECONDS = 15.0
RETRY_SECONDS = 2.0
MAX_PAGE = 500
"""Most items that the API gives at once."""


class Unanswered(HeliosError):  # noqa: N818 - reads as the fact it is
    """The API can't be reached, or refuses; the message says which and why."""

    def __init__(self, message: str, *, status: int | None = None, after_seconds: float | None = None) -> None:
        """Build it; ``status`` is the HTTP status of a refusal, ``after_seconds`` its Retry-After."""
        super().__init__(message)
        self.status = status
        self.after_seconds = after_seconds


class _Stream(msgspec.Struct, frozen=True):
    """What ``GET /api/v1/frames`` answers."""

    frames: list[StreamFrame]
    position: int
    oldest: int | None


class Client:
    """One API, and who asks."""

    def __init__(self, url: str, *, token: str | None = None, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        """Connect to nothing yet.

        Args:
            url: where the API is, ``https://host`` or ``http://127.0.0.1:8001``.
            token: a bearer token that may read; None where none is asked for.
            timeout_seconds: how long each request may wait for an answer; a function that starts cold needs longer.

        Raises:
            ConfigurationError: the URL is none of HTTP.
        """
        if urlsplit(url).scheme not in {"http", "https"}:
            raise ConfigurationError(f"{url!r} is not an http:// or https:// URL, such as http://127.0.0.1:8001")
        self._url = url.rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def get(self, path: str, type_: type[T], **query: Any) -> T:
        """What the API says, as this type.

        Raises:
            Unanswered: it says nothing, or something else.
        """
        given = {name: value for name, value in query.items() if value is not None}
        return self._ask("GET", f"{path}?{urlencode(given, doseq=True)}", None, type_)

    def post(self, path: str, body: object, type_: type[T]) -> T:
        """What the API says to a JSON body, or to none, as this type.

        Raises:
            Unanswered: see ``get``.
        """
        return self._ask("POST", path, b"" if body is None else msgspec.json.encode(body), type_)

    def _ask(self, method: str, path: str, body: bytes | None, type_: type[T]) -> T:
        headers = self._headers | ({"Content-Type": "application/json"} if body is not None else {})
        url = f"{self._url}/api/v1/{path}"
        request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310 - __init__ has checked the scheme
        try:
            with open_directly(request, timeout_seconds=self._timeout_seconds) as answer:
                return msgspec.json.decode(answer.read(), type=type_)
        except urllib.error.HTTPError as error:
            with error:
                wait = error.headers.get("Retry-After", "")
                after = float(wait) if wait.isascii() and wait.isdecimal() else None
                raise Unanswered(_reason(error.code, error.read()), status=error.code, after_seconds=after) from error
        except (OSError, http.client.HTTPException) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise Unanswered(f"{self._url} does not answer: {reason}; is the URL right?") from error
        except msgspec.MsgspecError as error:
            raise Unanswered(f"{self._url} answers, but not as Helios does: {error}") from error

    def items(self, path: str, type_: type[T], *, limit: int, **query: Any) -> Iterator[T]:
        """The items of as many pages as it takes to have ``limit`` of them.

        Raises:
            Unanswered: see ``get``.
        """
        after: str | None = None
        while limit > 0:
            page = self.get(path, Page[type_], after=after, limit=min(limit, MAX_PAGE), **query)  # type: ignore[valid-type]  # a type at run time only
            yield from page.items
            limit -= len(page.items)
            after = page.next_cursor
            if after is None:
                return

    def follow(self, *, pause_seconds: float, note: Callable[[str], None]) -> Iterator[StreamFrame]:
        """Every frame from now on, in order; it never ends.

        Args:
            pause_seconds: between two questions while nothing happens.
            note: told, in a sentence, when the API is away or has forgotten frames that were not seen yet.

        Raises:
            Unanswered: the API can't even be asked where the stream stands now.
        """
        position = self._stream(0).position
        while True:
            try:
                stream = self._stream(position)
            except Unanswered as error:
                note(f"{error}; trying again")
                time.sleep(RETRY_SECONDS)
                continue
            for frame in stream.frames:
                if missed := frame.position - position - 1:
                    note(f"{missed} frames were missed: they are older than the stream is kept")
                position = frame.position
                yield frame
            if not stream.frames:
                time.sleep(pause_seconds)

    def _stream(self, after: int) -> _Stream:
        return self.get("frames", _Stream, after=after)


def _reason(status: int, body: bytes) -> str:
    """An RFC 9457 problem in a sentence."""
    try:
        problem = json.loads(body)
    except ValueError:
        return f"the API answers {status}"
    said = [f"{error['field']} {error['reason']}" for error in problem.get("errors", [])]
    return f"{status}: {problem.get('detail', '')}{': ' if said else ''}{'; '.join(said)}"
