"""``python -P function_server.py TREE ROLE PORT``: serves the functions of one role, from the code in TREE, by HTTP.

TREE holds ``functions`` and ``shared`` of one commit. This program belongs to the tests of another commit, so it uses
only what a cloud uses of a function: the name of its file and its entry point. A request to ``/ENTRY`` has as its body
what the cloud passes to that entry point. Status 200 acknowledges it; 500 makes the cloud deliver it again.
"""

import asyncio
import importlib.util
import json
import sys
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

Entry = Callable[[bytes], object]
"""Passes a body to the function and returns its answer; an error makes the cloud deliver it again."""


class NotAcknowledged(Exception):  # noqa: N818 - reads as the fact it is
    """The function has asked its cloud to deliver again."""


class Context:
    """The part of Lambda's context that Powertools and Helios read."""

    function_name = "helios"
    memory_limit_in_mb = 256
    invoked_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:helios"
    aws_request_id = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"

    def get_remaining_time_in_millis(self) -> int:
        """The time that is left at the start of a call."""
        return 10_000


def aws(functions: Path) -> dict[str, Entry]:
    """The functions that AWS' role stands for."""
    return {name: _lambda(_load(functions / f"aws/{name}/handler.py")) for name in ("ingest", "relay", "sweep")}


def api(functions: Path) -> dict[str, Entry]:
    """The API; a request's body is the path to read, and the token after it."""
    handler = _load(functions / "aws/api/handler.py").handler

    def read(body: bytes) -> object:
        path, token = body.decode().split()
        answer = handler(_http_request(path, token), Context())
        if answer["statusCode"] != 200:
            raise NotAcknowledged(f"{path}: {answer['statusCode']} {answer['body']}")
        return json.loads(answer["body"])

    return {"read": read}


def gcp(functions: Path) -> dict[str, Entry]:
    """The functions of Google Cloud, behind the framework that runs them there."""
    from functions_framework import create_app

    def entry(target: str) -> Entry:
        client = create_app(target, str(functions / "gcp/main.py")).test_client()

        def call(body: bytes) -> object:
            answer = client.post("/", data=body, content_type="application/json")
            if answer.status_code >= 300:
                raise NotAcknowledged(answer.get_data(as_text=True))
            return None

        return call

    return {"ingest": entry("ingest"), "sweep": entry("sweep")}


def azure(functions: Path) -> dict[str, Entry]:
    """The functions of Azure, by the names under which the host lists them."""
    from azure.functions import QueueMessage

    module = _load(functions / "azure/function_app.py")
    listed = {function.get_function_name(): function.get_user_function() for function in module.app.get_functions()}

    def ingest(body: bytes) -> object:
        return _await(listed["ingest_queued"](QueueMessage(body=body)))

    def sweep(_body: bytes) -> object:
        return _await(listed["sweep"](None))

    return {"ingest": ingest, "sweep": sweep}


ROLES = {"helios_aws": aws, "helios_api": api, "helios_gcp": gcp, "helios_azure": azure}


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"function_{path.parent.name}_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _lambda(module: ModuleType) -> Entry:
    def call(body: bytes) -> object:
        answer = module.handler(json.loads(body), Context())
        if answer and answer.get("batchItemFailures"):
            raise NotAcknowledged(json.dumps(answer))
        return answer

    return call


def _http_request(path: str, token: str) -> dict[str, Any]:
    """A GET in payload format 2.0 of the Amazon API Gateway Developer Guide."""
    http = {"method": "GET", "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "test"}
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"host": "api.example", "authorization": f"Bearer {token}"},
        "requestContext": {"http": http, "requestId": "1", "routeKey": "$default", "stage": "$default"},
        "isBase64Encoded": False,
    }


def _await(coroutine: Any) -> object:
    return asyncio.get_event_loop().run_until_complete(coroutine)


def serve(entries: dict[str, Entry], port: int) -> None:
    """Serve one request at a time, as an instance of a function does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(200, None)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                self._answer(200, entries[self.path.removeprefix("/")](body))
            except Exception as error:  # noqa: BLE001 - whatever a function raises, its cloud delivers again
                traceback.print_exc()
                self._answer(500, f"{type(error).__name__}: {error}")

        def log_message(self, *_: object) -> None:
            """Write nothing: a request is no news."""

        def _answer(self, status: int, content: object) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    HTTPServer(("127.0.0.1", port), Handler).serve_forever()


def main() -> None:
    """Load the functions, check that they use the code of their own tree, and serve them."""
    tree, role, port = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    asyncio.set_event_loop(asyncio.new_event_loop())
    entries = ROLES[role](tree / "functions")
    import helios

    if not Path(helios.__file__).is_relative_to(tree):
        raise ImportError(f"helios was imported from {helios.__file__}, not from {tree}")
    serve(entries, port)


if __name__ == "__main__":
    main()
