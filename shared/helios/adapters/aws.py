"""Services that only AWS has: Secrets Manager for settings, SQS for notifications, API Gateway for broadcasts.

Only the functions and demos of AWS import this module.
"""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from http import HTTPStatus
from typing import Any, Final

import boto3
import msgspec
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, ReadTimeoutError

from helios.errors import ConfigurationError, Retryable
from helios.ports.stream import Connections

log = logging.getLogger("helios.aws")

PARALLEL_POSTS = 32
"""The most concurrent posts. A post waits for API Gateway and uses hardly any CPU time."""

BROADCAST_SECONDS: Final = 7.0
"""The longest time for one broadcast: the posts, and the removal of connections that are gone."""

POST_SECONDS: Final = 5.0
"""The end of the posts, counted from the beginning of a broadcast. A client that has not received the message by then
catches up later."""

REST_SECONDS: Final = 10.0
"""How long a connection is skipped after a post to it timed out, so that it does not slow down every broadcast."""

SENT, GONE, LATE, RESTING = "sent", "gone", "late", "resting"
"""The outcomes of a post, besides the error names of API Gateway and botocore."""

_CONFIG = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "max_attempts": 3})

_SLOW: Final = {ReadTimeoutError.__name__, ConnectTimeoutError.__name__}

# One attempt: a client that misses a message sees a gap in the positions, and fetches the missing frames.
_POSTING = Config(
    connect_timeout=1,
    read_timeout=2,
    max_pool_connections=PARALLEL_POSTS,
    retries={"total_max_attempts": 1},
)


def secret_variables(secret_id: str) -> dict[str, str]:
    """The variables that a secret in Secrets Manager holds.

    Args:
        secret_id: its name or ARN.

    Raises:
        ConfigurationError: the secret does not exist, this role may not read it, or it is not a JSON object of strings.
        Retryable: Secrets Manager does not answer.
    """
    client: Any = boto3.client("secretsmanager", config=_CONFIG)
    try:
        text = client.get_secret_value(SecretId=secret_id)["SecretString"]
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] < HTTPStatus.INTERNAL_SERVER_ERROR:
            raise ConfigurationError(f"HELIOS_SECRET_ID: {error}") from error
        raise Retryable(f"Secrets Manager: {error}") from error
    except BotoCoreError as error:
        raise Retryable(f"Secrets Manager: {error}") from error
    finally:
        client.close()
    try:
        return msgspec.json.decode(text, type=dict[str, str])
    except msgspec.DecodeError as error:  # the message leaves out the text, which is the secret
        raise ConfigurationError("HELIOS_SECRET_ID: the secret is not a JSON object of strings") from error


class SqsNotifier:
    """Implements ``Notifier`` with a message to the queue that starts the relay function."""

    def __init__(self, queue_url: str) -> None:
        self._queue_url = queue_url
        self._sqs: Any = boto3.client("sqs", config=_CONFIG)

    def notify(self) -> None:
        """Start the relay function. The function ignores the content of the message."""
        try:
            self._sqs.send_message(QueueUrl=self._queue_url, MessageBody="notify")
        except (BotoCoreError, ClientError) as error:
            raise Retryable(f"SQS: {error}") from error


class ApiGatewayBroadcaster:
    """Implements ``Broadcaster`` with API Gateway's ``@connections``."""

    def __init__(self, endpoint_url: str, connections: Connections) -> None:
        """Broadcast to these connections.

        Args:
            endpoint_url: the stage's ``https://...execute-api.../{stage}`` (not ``wss``).
            connections: the connected clients.
        """
        self._connections = connections
        self._gateway: Any = boto3.client("apigatewaymanagementapi", endpoint_url=endpoint_url, config=_POSTING)
        self._threads = ThreadPoolExecutor(PARALLEL_POSTS, thread_name_prefix="post")
        self._resting: dict[str, float] = {}

    def client_count(self) -> int:
        """The number of connections."""
        return len(self._connections.all())

    def broadcast(self, message: bytes) -> None:
        """Post to all connections in parallel, and remove those that are gone.

        A client that is not reached for another reason stays connected. It sees from the next position that it has
        missed frames, and fetches them.

        Raises:
            Retryable: no connection was reached.
        """
        began = time.monotonic()
        outcomes = self._post_to_all(self._connections.all(), message, until=began + POST_SECONDS)
        if gone := [connection for connection, outcome in outcomes.items() if outcome == GONE]:
            self._connections.remove(*gone)
        missed = Counter(outcome for outcome in outcomes.values() if outcome not in {SENT, GONE})
        if not missed:
            return
        reasons = ", ".join(f"{number} {reason}" for reason, number in sorted(missed.items()))
        if missed.total() == len(outcomes):
            raise Retryable(f"API Gateway: no connection was reached: {reasons}")
        log.warning("connections were not reached: %s", reasons)

    def post(self, connection: str, message: bytes) -> str:
        """Post to one connection, and return the outcome: SENT, GONE, or the name of the error."""
        try:
            self._gateway.post_to_connection(ConnectionId=connection, Data=message)
        except ClientError as error:
            gone = error.response["ResponseMetadata"]["HTTPStatusCode"] == HTTPStatus.GONE
            return GONE if gone else str(error.response["Error"]["Code"])
        except BotoCoreError as error:  # API Gateway is not reachable, or did not answer in time
            return type(error).__name__
        return SENT

    def _post_to_all(self, connections: Sequence[str], message: bytes, *, until: float) -> dict[str, str]:
        now = time.monotonic()
        self._resting = {connection: until for connection, until in self._resting.items() if until > now}
        posts = {
            connection: self._threads.submit(self.post, connection, message)
            for connection in connections
            if connection not in self._resting
        }
        wait(posts.values(), timeout=max(0.0, until - time.monotonic()))
        outcomes = dict.fromkeys(connections, RESTING)
        for connection, post in posts.items():
            outcomes[connection] = LATE if post.cancel() or not post.done() else post.result()
            if outcomes[connection] in _SLOW:
                self._resting[connection] = time.monotonic() + REST_SECONDS
        return outcomes
