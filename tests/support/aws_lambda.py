"""Lambda for tests: what SQS hands to a function, and a cold start in a process of its own.

``python -m tests.support.aws_lambda MODULE`` invokes ``MODULE.handler`` once: the event comes as JSON on standard
input, and the answer is the last line of standard output.
"""

import importlib
import json
import sys
import uuid
from typing import Any


class Context:
    """Lambda's context, as far as Powertools and Helios read it: so many seconds are left of the call."""

    function_name = "helios-ingest"
    memory_limit_in_mb = 256
    invoked_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:helios-ingest"
    aws_request_id = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"

    def __init__(self, seconds: float = 10.0) -> None:
        self._seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        """As at the beginning of a call."""
        return int(1000 * self._seconds)


def sqs(*bodies: bytes) -> dict[str, Any]:
    """AWS Lambda Developer Guide, "Using Lambda with Amazon SQS": a batch."""
    return {
        "Records": [
            {
                "messageId": str(uuid.UUID(int=number)),
                "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",  # pragma: allowlist secret
                "body": body.decode(),
                "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1764158400000"},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:helios-events",
                "awsRegion": "eu-central-1",
            }
            for number, body in enumerate(bodies)
        ]
    }


def main() -> None:
    """Invoke the handler of the module that the first argument names."""
    module = importlib.import_module(sys.argv[1])
    answer = module.handler(json.load(sys.stdin), Context())
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
