"""A client sends its credentials only to the URL it was given, and never follows a redirect."""

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from helios.adapters.notifiers import HttpNotifier
from helios.client import ApiError, Client
from helios.errors import Retryable
from tests.support.listener import listening, serving


def ask(url: str) -> None:
    Client(url, token="helios_secret").stats()


def change(url: str) -> None:
    Client(url, token="helios_secret").replay_dead_letter(1)


def notify(url: str) -> None:
    HttpNotifier(url, "the-ring-secret new").notify()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("send_request", [ask, change, notify])
def test_a_redirect_is_not_followed(send_request: Callable[[str], Any], status: int):
    authorizations: list[str | None] = []

    class RedirectTarget(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            authorizations.append(self.headers["Authorization"])
            self.send_response(204)
            self.end_headers()

        do_POST = do_GET  # noqa: N815 - the standard library's spelling

    with HTTPServer(("127.0.0.1", 0), RedirectTarget) as server, serving(server):
        location = f"http://127.0.0.1:{server.server_port}/"
        with (
            listening(status, {"Location": location}) as url,
            pytest.raises((ApiError, Retryable), match=str(status)),
        ):
            send_request(url)

    assert authorizations == []
