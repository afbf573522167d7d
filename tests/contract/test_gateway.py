"""What API Gateway may answer to a post, and who is forgotten for it: only who has left."""

import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from helios.adapters import aws
from helios.adapters.aws import GONE, RESTING, SENT, ApiGatewayBroadcaster
from helios.errors import Retryable
from local.stack.ports import HOST

REFUSALS = {
    403: "ForbiddenException",
    410: "GoneException",
    413: "PayloadTooLargeException",
    429: "LimitExceededException",
    500: "500",
    503: "503",
}
"""Amazon API Gateway, "PostToConnection", Errors; 5xx may come from what stands before it, without a name."""


class Watching:
    """Connections by name: each is answered with the status that its name begins with."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)

    def add(self, connection: str) -> None:
        self.names.append(connection)

    def remove(self, connection: str) -> None:
        self.names.remove(connection)

    def all(self) -> list[str]:
        return list(self.names)


class Gateway(ThreadingHTTPServer):
    """API Gateway's management endpoint.

    Attributes:
        posted: the connections that were posted to, in order.
        silent: those posts are not answered before this is set.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((HOST, 0), Answer)
        self.posted: list[str] = []
        self.silent = threading.Event()


class Answer(BaseHTTPRequestHandler):
    server: Gateway

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        connection = self.path.rpartition("/")[2]
        self.server.posted.append(connection)
        status = connection.partition("-")[0]
        if status == "silent":
            self.server.silent.wait(60)
            return
        self.send_response(int(status))
        if int(status) in REFUSALS and not REFUSALS[int(status)].isdigit():
            self.send_header("x-amzn-errortype", REFUSALS[int(status)])
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(autouse=True)
def credentials(monkeypatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.silent.set()
        server.shutdown()
        thread.join()


def broadcaster(gateway: Gateway, watching: Watching) -> ApiGatewayBroadcaster:
    return ApiGatewayBroadcaster(f"http://{HOST}:{gateway.server_port}/live", watching)


@pytest.mark.parametrize("status", [200, *REFUSALS])
def test_a_post_tells_what_became_of_it_and_is_made_once(gateway, status):
    """With the name that API Gateway gives it: for 413, that is one of ours that must not happen."""
    told = broadcaster(gateway, Watching()).post(str(status), b"{}")

    assert told == {200: SENT, 410: GONE}.get(status, REFUSALS.get(status))
    assert gateway.posted == [str(status)]


@pytest.mark.parametrize("status", [403, 413, 429, 500, 503])
def test_who_is_not_reached_stays_connected_and_is_counted(gateway, status, caplog):
    watching = Watching("200-a", f"{status}-b", f"{status}-c")
    with caplog.at_level(logging.WARNING):
        broadcaster(gateway, watching).broadcast(b"{}")

    assert watching.names == ["200-a", f"{status}-b", f"{status}-c"]
    assert [record.getMessage() for record in caplog.records] == [f"connections were not reached: 2 {REFUSALS[status]}"]


def test_who_has_left_is_forgotten(gateway, caplog):
    """And that is not worth a word: it happens all the time."""
    watching = Watching("200-a", "410-b", "200-c")
    broadcaster(gateway, watching).broadcast(b"{}")

    assert (watching.names, caplog.records) == (["200-a", "200-c"], [])


def test_when_nobody_is_reached_the_message_is_to_be_sent_again(gateway):
    """The role may not post, say: nobody is forgotten for that, and the frames wait."""
    watching = Watching("403-a", "403-b", "429-c")
    with pytest.raises(Retryable, match="no connection was reached: 2 ForbiddenException, 1 LimitExceededException"):
        broadcaster(gateway, watching).broadcast(b"{}")

    assert watching.names == ["403-a", "403-b", "429-c"]


def test_an_endpoint_that_does_not_answer_is_named():
    watching = Watching("a")
    unused = ApiGatewayBroadcaster(f"http://{HOST}:9/live", watching)
    with pytest.raises(Retryable, match="1 EndpointConnectionError"):
        unused.broadcast(b"{}")

    assert watching.names == ["a"]


def test_who_takes_too_long_is_left_alone_for_a_while(gateway, caplog):
    """Else each message to the others would wait for it."""
    watching = Watching("200-a", "silent-b")
    live = broadcaster(gateway, watching)
    for _ in range(3):
        live.broadcast(b"{}")

    assert watching.names == ["200-a", "silent-b"]
    assert (gateway.posted.count("200-a"), gateway.posted.count("silent-b")) == (3, 1)
    assert [record.getMessage().rpartition(" ")[2] for record in caplog.records] == [
        "ReadTimeoutError",
        RESTING,
        RESTING,
    ]


def test_a_message_waits_for_a_crowd_that_is_slow_only_so_long(gateway, monkeypatch, caplog):
    """Who was not posted to by then is told by the next message that it has missed one."""
    monkeypatch.setattr(aws, "BROADCAST_SECONDS", 0.5)
    watching = Watching("200-a", *(f"silent-{number}" for number in range(aws.PARALLEL_POSTS + 1)))
    broadcaster(gateway, watching).broadcast(b"{}")

    assert len(watching.names) == aws.PARALLEL_POSTS + 2
    assert "late" in caplog.text
