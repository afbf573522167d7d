"""A token goes where it was sent, and nowhere else."""

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from helios.adapters.notifiers import HttpNotifier
from helios.cli.client import ApiError, Client
from helios.errors import Retryable
from tests.support.listener import listening, serving


def ask(url: str) -> None:
    Client(url, token="helios_secret").get("stats", dict)


def change(url: str) -> None:
    Client(url, token="helios_secret").post("dead-letters/1/replay", {}, dict)


def notify(url: str) -> None:
    HttpNotifier(url, "the-ring-secret new").notify()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("asks", [ask, change, notify])
def test_a_redirect_is_not_followed(asks: Callable[[str], Any], status: int):
    asked: list[str | None] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["Authorization"])
            self.send_response(204)
            self.end_headers()

        do_POST = do_GET  # noqa: N815 - the standard library's spelling

    with HTTPServer(("127.0.0.1", 0), Elsewhere) as server, serving(server):
        location = f"http://127.0.0.1:{server.server_port}/"
        with (
            listening(status, {"Location": location}) as url,
            pytest.raises((ApiError, Retryable), match=str(status)),
        ):
            asks(url)

    assert asked == []


def test_of_two_ring_secrets_the_first_is_shown():
    """While one is being replaced."""
    notifier = HttpNotifier("http://127.0.0.1:1/", "new old")

    assert notifier._request.get_header("Authorization") == "Bearer new"
