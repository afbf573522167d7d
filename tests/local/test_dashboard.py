"""The files that the demo's dashboard server serves, and the headers that it sends."""

import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from helios.processes.ports import HOST, free_port
from helios.processes.probes import answers
from helios.processes.process import scrubbed_environment
from helios.processes.server import Command
from local.stack.config import REPOSITORY

API = "http://127.0.0.1:8001"
STREAM = "ws://127.0.0.1:4566/_aws/execute-api/4e110506/live"


class Answer(NamedTuple):
    """The answer to a request."""

    status: int
    headers: dict[str, str]
    body: str


class Served(NamedTuple):
    """A running server."""

    port: int

    def get(self, path: str) -> Answer:
        """The answer to a GET of this path, which is sent unchanged."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=30)
        connection.putrequest("GET", path)
        connection.endheaders()
        response = connection.getresponse()
        answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read().decode())
        connection.close()
        return answer


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Served]:
    """The server on a small page, with a file next to its folder that it must not serve."""
    folder: Path = tmp_path_factory.mktemp("dashboard")
    (folder / "secret.txt").write_text("secret")
    (folder / "dist" / "assets").mkdir(parents=True)
    (folder / "dist" / "index.html").write_text("the page")
    (folder / "dist" / "assets" / "page-1a2b.js").write_text("the script")
    port = free_port()
    addresses = ["--port", str(port), "--dist", str(folder / "dist"), "--api-url", API, "--ws-url", STREAM]
    server = Command(
        "dashboard",
        [sys.executable, "-m", "local.demo.dashboard", *addresses],
        env=scrubbed_environment(),
        ready=answers(f"http://{HOST}:{port}/"),
        log=folder / "dashboard.log",
        cwd=REPOSITORY,
    )
    with server:
        yield Served(port)


def test_config_js_has_the_addresses_of_the_api(served):
    answer = served.get("/config.js")

    assert answer.headers["content-type"].startswith("text/javascript")
    name, _, value = answer.body.strip().removesuffix(";").partition(" = ")
    assert (name, json.loads(value)) == ("window.heliosConfig", {"apiUrl": API, "wsUrl": STREAM})


@pytest.mark.parametrize("path", ["/", "/config.js", "/assets/page-1a2b.js", "/no-such.js"])
def test_every_answer_has_a_policy_that_allows_own_files_and_the_api(served, path):
    headers = served.get(path).headers
    rules = dict(rule.split(maxsplit=1) for rule in headers["content-security-policy"].split("; "))

    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == "'self'"
    assert set(rules["connect-src"].split()) == {"'self'", API, "ws://127.0.0.1:4566"}
    assert rules["frame-ancestors"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/", 200, "the page"),
        ("/?source=gcp", 200, "the page"),
        ("/orders/ORD-1", 200, "the page"),
        ("/assets/page-1a2b.js", 200, "the script"),
        ("/no-such.js", 404, "404: Not Found"),
        ("/../secret.txt", 404, "404: Not Found"),
        ("/%2e%2e/secret.txt", 404, "404: Not Found"),
    ],
)
def test_a_path_is_a_file_of_the_folder_or_the_page(served, path, status, body):
    answer = served.get(path)

    assert (answer.status, answer.body) == (status, body)


def test_browsers_may_cache_only_files_with_a_digest_in_their_name(served):
    cache_control = {
        path: served.get(path).headers["cache-control"] for path in ("/", "/config.js", "/assets/page-1a2b.js")
    }

    assert cache_control == {
        "/": "no-cache",
        "/config.js": "no-cache",
        "/assets/page-1a2b.js": "public, max-age=31536000, immutable",
    }


def test_a_304_answer_has_no_body(served):
    """The client would take a body for the start of the next response on the same connection."""
    etag = served.get("/").headers["etag"]
    first = f"GET / HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\nIf-None-Match: {etag}\r\n\r\n"
    second = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with socket.create_connection((HOST, served.port), timeout=30) as connection:
        connection.sendall((first + second).encode())
        received = connection.makefile("rb").read()
    headers, _, rest = received.partition(b"\r\n\r\n")

    assert headers.startswith(b"HTTP/1.1 304 ")
    assert rest.startswith(b"HTTP/1.1 200 ")


def test_without_a_build_the_error_says_how_to_make_one(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "local.demo.dashboard", "--dist", str(tmp_path)],
        cwd=REPOSITORY,
        env=scrubbed_environment(),
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )

    assert ended.returncode == 1
    assert "npm run build" in ended.stderr
