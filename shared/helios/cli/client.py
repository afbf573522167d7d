"""An HTTP client of Helios' API, on the standard library alone, so that the command line runs wherever Python does."""

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
"""The environment variable that holds the client's token."""
TIMEOUT_SECONDS = 15.0
RETRY_SECONDS = 2.0
MAX_PAGE = 500
"""Most items on one of the API's pages."""


class ApiError(HeliosError):
    """The API can't be reached, or answers with an error; the message says which and why."""

    def __init__(self, message: str, *, status: int | None = None, retry_after_seconds: float | None = None) -> None:
        """Build the error.

        Args:
            message: what went wrong.
            status: the HTTP status of the answer; None: there was no usable answer.
            retry_after_seconds: the answer's Retry-After.
        """
        super().__init__(message)
        self.status = status
        self.retry_after_seconds = retry_after_seconds


class _Stream(msgspec.Struct, frozen=True):
    """The answer to ``GET /api/v1/frames``."""

    frames: list[StreamFrame]
    position: int
    oldest: int | None


class Client:
    """A client of one API, with one token."""

    def __init__(self, url: str, *, token: str | None = None, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        """Build the client; it connects with the first request.

        Args:
            url: the API's URL, ``https://host`` or ``http://127.0.0.1:8001``.
            token: a bearer token with the scope read; None for an API that needs none.
            timeout_seconds: longest wait for an answer; a function that starts cold needs longer.

        Raises:
            ConfigurationError: the URL is neither http:// nor https://.
        """
        if urlsplit(url).scheme not in {"http", "https"}:
            raise ConfigurationError(f"{url!r} is not an http:// or https:// URL, such as http://127.0.0.1:8001")
        self._url = url.rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def get(self, path: str, type_: type[T], **query: Any) -> T:
        """The API's answer, decoded as this type.

        Raises:
            ApiError: the API can't be reached, answers with an error, or sends another type.
        """
        parameters = {name: value for name, value in query.items() if value is not None}
        return self._request("GET", f"{path}?{urlencode(parameters, doseq=True)}", None, type_)

    def post(self, path: str, body: object, type_: type[T]) -> T:
        """The API's answer to a JSON body, or to none, decoded as this type.

        Raises:
            ApiError: see ``get``.
        """
        return self._request("POST", path, b"" if body is None else msgspec.json.encode(body), type_)

    def _request(self, method: str, path: str, body: bytes | None, type_: type[T]) -> T:
        headers = self._headers | ({"Content-Type": "application/json"} if body is not None else {})
        url = f"{self._url}/api/v1/{path}"
        request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310 - __init__ has checked the scheme
        try:
            with open_directly(request, timeout_seconds=self._timeout_seconds) as answer:
                return msgspec.json.decode(answer.read(), type=type_)
        except urllib.error.HTTPError as error:
            with error:
                header = error.headers.get("Retry-After", "")
                retry_after = float(header) if header.isascii() and header.isdecimal() else None
                message = _reason(error.code, error.read())
                raise ApiError(message, status=error.code, retry_after_seconds=retry_after) from error
        except (OSError, http.client.HTTPException) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise ApiError(f"{self._url} does not answer: {reason}; check the URL") from error
        except msgspec.MsgspecError as error:
            raise ApiError(f"The answer of {self._url} is not one of Helios' API: {error}") from error

    def items(self, path: str, type_: type[T], *, limit: int, **query: Any) -> Iterator[T]:
        """Up to ``limit`` items, from as many pages as they take.

        Raises:
            ApiError: see ``get``.
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
        """Every frame from now on, in order, without an end.

        Args:
            pause_seconds: time between two requests while nothing happens.
            note: called with a sentence when the API is unavailable, or has deleted frames that were not read yet.

        Raises:
            ApiError: the first request fails, so that the stream's present position is unknown.
        """
        position = self._stream(0).position
        while True:
            try:
                stream = self._stream(position)
            except ApiError as error:
                note(f"{error}; retrying in {RETRY_SECONDS:g} s")
                time.sleep(RETRY_SECONDS)
                continue
            for frame in stream.frames:
                if missed := frame.position - position - 1:
                    note(f"{missed} frames are missing: the API has deleted them already")
                position = frame.position
                yield frame
            if not stream.frames:
                time.sleep(pause_seconds)

    def _stream(self, after: int) -> _Stream:
        return self.get("frames", _Stream, after=after)


def _reason(status: int, body: bytes) -> str:
    """An RFC 9457 problem as one line."""
    try:
        problem = json.loads(body)
    except ValueError:
        return f"the API answers {status}"
    errors = [f"{error['field']} {error['reason']}" for error in problem.get("errors", [])]
    return f"{status}: {problem.get('detail', '')}{': ' if errors else ''}{'; '.join(errors)}"
