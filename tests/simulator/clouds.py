"""Three small servers that accept the requests of the clouds' SDKs, and fail on demand as the clouds do.

They test how a publisher handles each answer. Delivery of events is tested with the emulators.
"""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import grpc
from google.pubsub_v1 import types

Reply = tuple[int, Any]


class HttpCloud:
    """Accepts JSON over HTTP: PutEvents calls, or arrays of Event Grid events."""

    def __init__(self, reply: Callable[[Any], Reply]) -> None:
        """Prepare a server whose default answer to a request's body is ``reply(body)``."""
        self.calls: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.next: list[Reply | None] = []
        self._reply = reply
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        cloud = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                cloud.calls.append(body)
                cloud.headers.append({name.lower(): value for name, value in self.headers.items()})
                planned = cloud.next.pop(0) if cloud.next else cloud._reply(body)
                if planned is None:  # close the connection without an answer
                    self.close_connection = True
                    return
                status, answer = planned
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def put_events(body: Any) -> Reply:
    """The reply of PutEvents that accepts every entry and gives it an id."""
    entries = [{"EventId": f"aws-{number}"} for number in range(len(body["Entries"]))]
    return 200, {"FailedEntryCount": 0, "Entries": entries}


def event_grid(_: Any) -> Reply:
    """The reply of Event Grid that accepts every event."""
    return 200, ""


class PubSubCloud:
    """A gRPC server with the method ``Publish``."""

    def __init__(self) -> None:
        self.messages: list[types.PubsubMessage] = []
        self.topics: set[str] = set()
        self.next: list[grpc.StatusCode] = []
        self._threads = ThreadPoolExecutor(4)
        self._server = grpc.server(self._threads)
        method = grpc.unary_unary_rpc_method_handler(
            self._publish,
            request_deserializer=types.PublishRequest.deserialize,
            response_serializer=types.PublishResponse.serialize,
        )
        handler = grpc.method_handlers_generic_handler("google.pubsub.v1.Publisher", {"Publish": method})
        self._server.add_generic_rpc_handlers((handler,))
        self.host = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(0).wait(10)
        self._threads.shutdown()

    def _publish(self, request: types.PublishRequest, context: grpc.ServicerContext) -> types.PublishResponse:
        if self.next:
            context.abort(self.next.pop(0), "requested by the test")
        self.topics.add(request.topic)
        self.messages += request.messages
        return types.PublishResponse(message_ids=[str(number) for number in range(len(request.messages))])
