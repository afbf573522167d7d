"""An HTTP server for webhooks that records the requests and sends the answers of the test."""

import json
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar


class Receiver(ThreadingHTTPServer):
    """Records the requests and sends the answers of the test.

    Attributes:
        answers: status, headers and body for the next requests, one each; ``otherwise`` after them.
        otherwise: the further answers.
        requests: path, headers and body of each request that arrived in full.
        stalls: whether each answer sends one byte at a time and never ends.
        released: ends the answers that stall, once it is set.
    """

    daemon_threads = True
    otherwise: tuple[int, dict[str, str], bytes] = (204, {}, b"")

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.released = threading.Event()
        self.stalls = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook?from=helios"

    @property
    def ids(self) -> list[str]:
        """The ids of the received CloudEvents, in order."""
        return [json.loads(body)["id"] for _, _, body in self.requests]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_POST(self) -> None:
        length = int(self.headers["content-length"])
        body = self.rfile.read(length)
        if len(body) < length:  # the sender was killed while it sent
            self.close_connection = True
            return
        self.server.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        if self.server.stalls:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")  # then one byte at a time, without an end
            while not self.server.released.wait(0.05):
                try:
                    self.wfile.write(b"x")
                    self.wfile.flush()
                except OSError:
                    return
            return
        status, headers, content = self.server.answers.pop(0) if self.server.answers else self.server.otherwise
        self.send_response(status)
        for name, value in ({"content-length": str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


R = TypeVar("R", bound=Receiver)


def receiving() -> AbstractContextManager[Receiver]:
    """A receiver on a free port of this machine."""
    return running(Receiver)


@contextmanager
def running(kind: type[R]) -> Iterator[R]:
    """A receiver of this kind on a free port of this machine."""
    with kind() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()
