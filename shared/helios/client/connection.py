"""Requests to the API, on the standard library alone, so that the command line runs wherever Python does."""

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec

from helios.client.errors import ApiError
from helios.errors import UNREADABLE, ConfigurationError
from helios.model.paging import Page
from helios.outbound import open_directly
from helios.shapes import FieldError

T = TypeVar("T")

TIMEOUT_SECONDS = 15.0
MAX_PAGE = 500
"""Most items on one of the API's pages."""

JSON = "application/json"


class _Problem(msgspec.Struct, frozen=True):
    """What the client reads of an RFC 9457 problem. A proxy in between may write other members."""

    detail: str = ""
    errors: list[FieldError] = []


class Connection:
    """Sends requests to one API, with one token.

    Attributes:
        url: the API's URL, without a slash at the end.
        token: the bearer token; None: requests carry none.
    """

    def __init__(self, url: str, *, token: str | None = None, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        """Build it; it connects with the first request.

        Args:
            url: the API's URL, ``https://host`` or ``http://127.0.0.1:8001``.
            token: a bearer token; None for an API that needs none.
            timeout_seconds: longest wait for an answer; a function that starts cold needs longer.

        Raises:
            ConfigurationError: the URL is neither http:// nor https://.
        """
        if urlsplit(url).scheme not in {"http", "https"}:
            raise ConfigurationError(f"{url!r} is not an http:// or https:// URL, such as http://127.0.0.1:8001")
        self.url = url.rstrip("/")
        self.token = token
        self._timeout_seconds = timeout_seconds

    def get(self, path: str, type_: type[T], *, answers: Collection[int] = (), **query: Any) -> T:
        """The API's answer, decoded as this type.

        Args:
            path: the path below ``/api/v1/``.
            type_: the type of the answer.
            answers: error statuses that come with an answer of this type, too.
            query: the parameters; one that is None is left out.

        Raises:
            ApiError: the API can't be reached, answers with an error, or sends another type.
        """
        parameters = {name: value for name, value in query.items() if value is not None}
        return self.request(
            "GET",
            f"{path}?{urlencode(parameters, doseq=True)}",
            decoder(type_),
            headers=self.authorization,
            answers=answers,
        )

    def post(self, path: str, body: object, decode: Callable[[bytes], T]) -> T:
        """The API's answer to a JSON body, or to none.

        Raises:
            ApiError: see ``get``.
        """
        content = b"" if body is None else msgspec.json.encode(body)
        return self.request("POST", path, decode, content, headers=self.authorization | {"Content-Type": JSON})

    def items(self, path: str, type_: type[T], *, limit: int | None, **query: Any) -> Iterator[T]:
        """Up to ``limit`` items, or all, from as many pages as they take.

        Raises:
            ApiError: see ``get``.
        """
        after: str | None = None
        while limit is None or limit > 0:
            size = MAX_PAGE if limit is None else min(limit, MAX_PAGE)
            page = self.get(path, Page[type_], after=after, limit=size, **query)  # type: ignore[valid-type]  # a type at run time only
            yield from page.items
            limit = None if limit is None else limit - len(page.items)
            after = page.next_cursor
            if after is None:
                return

    def request(
        self,
        method: str,
        path: str,
        decode: Callable[[bytes], T],
        body: bytes | None = None,
        *,
        headers: Mapping[str, str],
        answers: Collection[int] = (),
    ) -> T:
        """The decoded answer to a request with exactly these headers.

        Raises:
            ApiError: see ``get``.
        """
        url = f"{self.url}/api/v1/{path}"
        request = urllib.request.Request(url, body, dict(headers), method=method)  # noqa: S310 - __init__ has checked the scheme
        try:
            with self._send(request, answers) as answer:
                return decode(answer.read())
        except (OSError, http.client.HTTPException) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise ApiError(f"{self.url} does not answer: {reason}; check the URL") from error
        except UNREADABLE as error:
            raise ApiError(f"The answer of {self.url} is not one of Helios' API: {error}") from error

    def _send(self, request: urllib.request.Request, answers: Collection[int]) -> Any:
        """The answer, which the caller closes.

        Raises:
            ApiError: the status is that of an error.
            OSError, http.client.HTTPException: there is no answer.
        """
        try:
            return open_directly(request, timeout_seconds=self._timeout_seconds)
        except urllib.error.HTTPError as error:
            if error.code in answers:
                return error
            with error:
                raise _api_error(error) from error

    @property
    def authorization(self) -> dict[str, str]:
        """The header with the token; empty without one."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


def decoder(type_: type[T]) -> Callable[[bytes], T]:
    """Decodes JSON as this type."""
    return partial(msgspec.json.decode, type=type_)


def _api_error(answer: urllib.error.HTTPError) -> ApiError:
    """An RFC 9457 problem as an error whose message is one line."""
    header = answer.headers.get("Retry-After", "")
    retry_after = float(header) if header.isascii() and header.isdecimal() else None
    try:
        problem = msgspec.json.decode(answer.read(), type=_Problem)
    except UNREADABLE:  # not a problem of Helios, but of a proxy
        message = f"the API answers {answer.code}"
        return ApiError(message, status=answer.code, retry_after_seconds=retry_after)
    # The detail of most problems names the fields and reasons already.
    unsaid = [
        f"{error.field} {error.reason}"
        for error in problem.errors
        if not any(f"{error.field}{mark} {error.reason}" in problem.detail for mark in ("", ":"))
    ]
    message = f"{answer.code}: {problem.detail}{': ' if unsaid else ''}{'; '.join(unsaid)}"
    return ApiError(message, status=answer.code, errors=problem.errors, retry_after_seconds=retry_after)
