"""An HTTP endpoint for deliveries that stores the requests and sends the answers of the test."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, NamedTuple, Self

WAIT_SECONDS = 20


class Received(NamedTuple):
    """One request; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def is_handshake(self) -> bool:
        return self.method == "OPTIONS" or self.headers.get("aeg-event-type") == "SubscriptionValidation"


class Answer(NamedTuple):
    status: int = 200
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes = b""


def consent(request: Received) -> Answer:
    """The answer that consents to a handshake, in either schema."""
    if request.method == "OPTIONS":
        return Answer(headers={"WebHook-Allowed-Origin": request.headers["webhook-request-origin"]})
    return Answer(body=json.dumps({"validationResponse": request.json[0]["data"]["validationCode"]}).encode())


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # with the default of 5 a sixth connection waits a second


class Receiver:
    """The endpoint. A test may replace `handshake` and `notification`, which make the answers."""

    def __init__(self) -> None:
        self.handshake: Callable[[Received], Answer] = consent
        self.notification: Callable[[Received], Answer] = lambda _request: Answer()
        self._received: list[Received] = []
        self._changed = threading.Condition()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = outer._answer(Received(self.command, self.path, headers, body, time.monotonic()))
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if answer.status != 204:
                    self.send_header("content-length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            do_POST = do_OPTIONS = do_GET = _serve  # noqa: N815 - http.server asks for these names

            def log_message(self, *_args: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self.url = f"http://127.0.0.1:{self._server.server_port}/events"

    def _answer(self, request: Received) -> Answer:
        answer = self.handshake(request) if request.is_handshake else self.notification(request)
        with self._changed:
            self._received.append(request)
            self._changed.notify_all()
        return answer

    @property
    def handshakes(self) -> list[Received]:
        return [request for request in self._received if request.is_handshake]

    @property
    def notifications(self) -> list[Received]:
        return [request for request in self._received if not request.is_handshake]

    @property
    def ids(self) -> list[str]:
        """The ids of all delivered events, in order of arrival."""
        bodies = (request.json for request in self.notifications)
        return [event["id"] for body in bodies for event in (body if isinstance(body, list) else [body])]

    def wait(self, count: int) -> list[Received]:
        """The notifications, once there are at least ``count``."""
        with self._changed:
            done = self._changed.wait_for(lambda: len(self.notifications) >= count, WAIT_SECONDS)
        assert done, f"{len(self.notifications)} notifications came, not {count}"
        return self.notifications

    def wait_ids(self, count: int) -> list[str]:
        """The ids, once there are at least ``count``."""
        with self._changed:
            done = self._changed.wait_for(lambda: len(self.ids) >= count, WAIT_SECONDS)
        assert done, f"{len(self.ids)} events came, not {count}"
        return self.ids

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def in_turn(*statuses: int) -> Callable[[Received], Answer]:
    """Answers with these statuses, one each, and with 200 after them."""
    remaining = list(statuses)
    return lambda _request: Answer(remaining.pop(0) if remaining else 200)
