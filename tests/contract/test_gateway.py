"""API Gateway's answers to a post. The broadcaster removes only connections that are gone."""

import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from helios.adapters import aws
from helios.adapters.aws import GONE, RESTING, SENT, ApiGatewayBroadcaster
from helios.errors import Retryable
from helios.processes.ports import HOST

REFUSALS = {
    403: "ForbiddenException",
    410: "GoneException",
    413: "PayloadTooLargeException",
    429: "LimitExceededException",
    500: "500",
    503: "503",
}
"""Amazon API Gateway, "PostToConnection", Errors. A 5xx may come from a proxy before it, without a name."""


class FakeConnections:
    """Connections by name. The gateway answers each with the status that its name begins with."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)

    def add(self, connection: str) -> None:
        self.names.append(connection)

    def remove(self, *connections: str) -> None:
        for connection in connections:
            self.names.remove(connection)

    def all(self) -> list[str]:
        return list(self.names)


class Gateway(ThreadingHTTPServer):
    """API Gateway's management endpoint.

    Attributes:
        posted: the connections of all posts, in order.
        silent: posts to "silent" connections are not answered before this event is set.
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
        """Logs nothing."""


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


def broadcaster(gateway: Gateway, connections: FakeConnections) -> ApiGatewayBroadcaster:
    return ApiGatewayBroadcaster(f"http://{HOST}:{gateway.server_port}/live", connections)


@pytest.mark.parametrize("status", [200, *REFUSALS])
def test_a_post_returns_its_result_and_is_made_once(gateway, status):
    """The result is API Gateway's error name. A 413 would be a bug in Helios."""
    result = broadcaster(gateway, FakeConnections()).post(str(status), b"{}")

    assert result == {200: SENT, 410: GONE}.get(status, REFUSALS.get(status))
    assert gateway.posted == [str(status)]


@pytest.mark.parametrize("status", [403, 413, 429, 500, 503])
def test_an_unreached_connection_is_not_removed_and_is_counted(gateway, status, caplog):
    connections = FakeConnections("200-a", f"{status}-b", f"{status}-c")
    with caplog.at_level(logging.WARNING):
        broadcaster(gateway, connections).broadcast(b"{}")

    assert connections.names == ["200-a", f"{status}-b", f"{status}-c"]
    assert [record.getMessage() for record in caplog.records] == [f"connections were not reached: 2 {REFUSALS[status]}"]


def test_a_gone_connection_is_removed(gateway, caplog):
    """This is normal, so the broadcaster logs nothing."""
    connections = FakeConnections("200-a", "410-b", "200-c")
    broadcaster(gateway, connections).broadcast(b"{}")

    assert (connections.names, caplog.records) == (["200-a", "200-c"], [])


def test_a_message_that_reached_no_connection_is_retryable(gateway):
    """The role may lack a permission, for example. No connection is removed, and the frames wait."""
    connections = FakeConnections("403-a", "403-b", "429-c")
    with pytest.raises(Retryable, match="no connection was reached: 2 ForbiddenException, 1 LimitExceededException"):
        broadcaster(gateway, connections).broadcast(b"{}")

    assert connections.names == ["403-a", "403-b", "429-c"]


def test_an_error_of_an_unreachable_endpoint_is_named():
    connections = FakeConnections("a")
    unreachable = ApiGatewayBroadcaster(f"http://{HOST}:9/live", connections)
    with pytest.raises(Retryable, match="1 EndpointConnectionError"):
        unreachable.broadcast(b"{}")

    assert connections.names == ["a"]


def test_a_connection_that_times_out_is_skipped_for_a_while(gateway, caplog):
    """Otherwise each message to the other connections would wait for it."""
    connections = FakeConnections("200-a", "silent-b")
    gateway_broadcaster = broadcaster(gateway, connections)
    for _ in range(3):
        gateway_broadcaster.broadcast(b"{}")

    assert connections.names == ["200-a", "silent-b"]
    assert (gateway.posted.count("200-a"), gateway.posted.count("silent-b")) == (3, 1)
    assert [record.getMessage().rpartition(" ")[2] for record in caplog.records] == [
        "ReadTimeoutError",
        RESTING,
        RESTING,
    ]


def test_a_broadcast_to_many_slow_connections_has_a_time_limit(gateway, monkeypatch, caplog):
    """A client that was not reached by then sees a gap at the next message."""
    monkeypatch.setattr(aws, "POST_SECONDS", 1.5)
    connections = FakeConnections("200-a", *(f"silent-{number}" for number in range(aws.PARALLEL_POSTS + 1)))
    broadcaster(gateway, connections).broadcast(b"{}")

    assert len(connections.names) == aws.PARALLEL_POSTS + 2
    assert "late" in caplog.text
