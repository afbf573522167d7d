"""A plugin of pytest that runs the system suite of Google's client for Python on the Pub/Sub emulator.

A case of a feature that the emulator does not imitate is expected to fail.
"""

import functools
from collections.abc import Callable
from typing import Any, Final

import google.auth
import pytest
from google.auth.credentials import AnonymousCredentials
from google.pubsub_v1.services.publisher.transports.rest import PublisherRestTransport
from google.pubsub_v1.services.subscriber.transports.rest import SubscriberRestTransport

NOT_IMITATED: Final = {"iam_policy": "IAM is not imitated"}
"""The reason by a part of the names of the cases."""

_NO_CREDENTIALS: Final = AnonymousCredentials()  # type: ignore[no-untyped-call]


def pytest_configure() -> None:
    """Give the clients a project without credentials, and their REST transport plain HTTP."""
    google.auth.default = lambda *_args, **_kwargs: (_NO_CREDENTIALS, "suite")
    for transport in (PublisherRestTransport, SubscriberRestTransport):
        setattr(transport, "__init__", _over_http(transport.__init__))  # noqa: B010 - mypy refuses the assignment


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Expect what is not imitated to fail."""
    for item in items:
        for part, reason in NOT_IMITATED.items():
            if part in item.name:
                item.add_marker(pytest.mark.xfail(reason=reason, strict=True))


def _over_http(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def init(self: Any, **arguments: Any) -> None:
        arguments.pop("channel", None)  # the client makes one of gRPC for every emulator
        plain = {"url_scheme": "http", "credentials": _NO_CREDENTIALS}
        original(self, **arguments | plain)

    return init
