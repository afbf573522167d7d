"""The pages of a list: sorted by name, each with the token of the next."""

import base64
import binascii
from collections.abc import Mapping
from typing import TypeVar

from local.emulators.pubsub.errors import invalid

Resource = TypeVar("Resource")

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000
"""A larger size is not an error: the page has fewer resources than the client asked for."""


def page(resources: Mapping[str, Resource], size: int, token: str) -> tuple[list[Resource], str]:
    """One page, and the token of the next one; an empty token after the last page.

    A token contains the last name of its page, so that a resource created or deleted between two calls neither repeats
    nor hides another one.

    Raises:
        Refused: INVALID_ARGUMENT, the size is negative, or the token is none of these.
    """
    if size < 0:
        raise invalid(f"page_size is {size}: it must not be negative.")
    after = _last_name(token)
    names = sorted(name for name in resources if name > after)
    shown = names[: min(size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)]
    more = len(names) > len(shown)
    return [resources[name] for name in shown], _token(shown[-1]) if more else ""


def _token(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _last_name(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise invalid("Invalid page_token: use the next_page_token of the previous page.") from error
