"""Lambda for tests: the context, and a cold start in a process of its own.

``python -m tests.support.aws_lambda MODULE`` invokes ``MODULE.handler`` once. It reads the event as JSON from standard
input and writes the answer as the last line of standard output.
"""

import importlib
import json
import os
import sys
from typing import Any


class Context:
    """The part of Lambda's context that Powertools and Helios read; ``seconds`` of the call are left."""

    function_name = "helios-ingest"
    memory_limit_in_mb = 256
    invoked_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:helios-ingest"
    aws_request_id = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"

    def __init__(self, seconds: float = 10.0) -> None:
        self._seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        """The time that is left at the start of a call."""
        return int(1000 * self._seconds)


def request(
    method: str, path: str, body: bytes = b"", query: str = "", headers: dict[str, str] | None = None
) -> dict[str, Any]:
    """An event in payload format 2.0 of the Amazon API Gateway Developer Guide."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"content-type": "application/json", "host": "api.example"} | (headers or {}),
        "requestContext": {
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "t"},
            "requestId": "1",
            "routeKey": "$default",
            "stage": "$default",
        },
        "body": body.decode(),
        "isBase64Encoded": False,
    }


def main() -> None:
    """Invoke the handler of the module in the first argument."""
    module = importlib.import_module(sys.argv[1])
    # By default the timeout of the relay, the longest of those killed.
    seconds = float(os.environ.get("TEST_LAMBDA_SECONDS", "30"))
    answer = module.handler(json.load(sys.stdin), Context(seconds))
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
