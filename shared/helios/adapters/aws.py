"""What only AWS has: Secrets Manager for settings, SQS to ring with, API Gateway to broadcast through.

Only AWS' functions and demos load it.
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
"""Posts under way at once: each waits for API Gateway, hardly any for the CPU."""

BROADCAST_SECONDS: Final = 5.0
"""Longest time for one message to all: who has not been posted to by then catches up later."""

REST_SECONDS: Final = 10.0
"""How long a connection is left alone once a post to it took too long: it must not slow the others each time."""

SENT, GONE, LATE, RESTING = "sent", "gone", "late", "resting"
"""What becomes of a post, unless API Gateway or the network has a name for it."""

_CONFIG = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "max_attempts": 3})

_SLOW: Final = {ReadTimeoutError.__name__, ConnectTimeoutError.__name__}

# One attempt: whom it does not reach sees a gap, and closes it from the frames.
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
        ConfigurationError: there is no such secret, this role may not read it, or it is no JSON object of strings.
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
    except msgspec.DecodeError as error:  # without its text: that is the secret
        raise ConfigurationError("HELIOS_SECRET_ID: the secret is no JSON object of strings") from error


class SqsNotifier:
    """Keeps ``Notifier`` with a message to the queue that starts the relay function."""

    def __init__(self, queue_url: str) -> None:
        self._queue_url = queue_url
        self._sqs: Any = boto3.client("sqs", config=_CONFIG)

    def notify(self) -> None:
        """Start the relay function; what the message says doesn't matter."""
        try:
            self._sqs.send_message(QueueUrl=self._queue_url, MessageBody="ring")
        except (BotoCoreError, ClientError) as error:
            raise Retryable(f"SQS: {error}") from error


class ApiGatewayBroadcaster:
    """Keeps ``Broadcaster`` with API Gateway's ``@connections``."""

    def __init__(self, endpoint_url: str, connections: Connections) -> None:
        """Broadcast to these connections.

        Args:
            endpoint_url: the stage's ``https://...execute-api.../{stage}`` (not ``wss``).
            connections: who is connected.
        """
        self._connections = connections
        self._gateway: Any = boto3.client("apigatewaymanagementapi", endpoint_url=endpoint_url, config=_POSTING)
        self._threads = ThreadPoolExecutor(PARALLEL_POSTS, thread_name_prefix="post")
        self._resting: dict[str, float] = {}

    def broadcast(self, message: bytes) -> None:
        """Post to every connection at once, and forget those that are gone.

        Whoever is not reached for another reason stays connected: it sees from the next position that it has missed
        something, and asks for that.

        Raises:
            Retryable: not one could be reached.
        """
        outcomes = self._post_to_all(self._connections.all(), message)
        for connection, outcome in outcomes.items():
            if outcome == GONE:
                self._connections.remove(connection)
        missed = Counter(outcome for outcome in outcomes.values() if outcome not in {SENT, GONE})
        if not missed:
            return
        reasons = ", ".join(f"{number} {reason}" for reason, number in sorted(missed.items()))
        if missed.total() == len(outcomes):
            raise Retryable(f"API Gateway: nobody was reached: {reasons}")
        log.warning("not everybody was reached: %s", reasons)

    def post(self, connection: str, message: bytes) -> str:
        """Post to one connection, and tell what became of it: SENT, GONE, or the error's name."""
        try:
            self._gateway.post_to_connection(ConnectionId=connection, Data=message)
        except ClientError as error:
            gone = error.response["ResponseMetadata"]["HTTPStatusCode"] == HTTPStatus.GONE
            return GONE if gone else str(error.response["Error"]["Code"])
        except BotoCoreError as error:  # it did not answer in time, or can't be reached
            return type(error).__name__
        return SENT

    def _post_to_all(self, connections: Sequence[str], message: bytes) -> dict[str, str]:
        now = time.monotonic()
        self._resting = {one: until for one, until in self._resting.items() if until > now}
        posts = {one: self._threads.submit(self.post, one, message) for one in connections if one not in self._resting}
        wait(posts.values(), timeout=BROADCAST_SECONDS)
        outcomes = dict.fromkeys(connections, RESTING)
        for connection, post in posts.items():
            outcomes[connection] = LATE if post.cancel() or not post.done() else post.result()
            if outcomes[connection] in _SLOW:
                self._resting[connection] = time.monotonic() + REST_SECONDS
        return outcomes
