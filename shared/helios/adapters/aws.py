"""What only AWS has: Secrets Manager for settings, SQS to ring with, API Gateway to broadcast through, EventBridge.

Only AWS' functions and demos load it.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any

import boto3
import msgspec
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from helios.errors import Misconfigured, PutOff, Rejected, Retryable
from helios.event import Event
from helios.jobs import SENT, Replayed, ReplayJob
from helios.normalise.replays import RESOURCE, Original
from helios.ports import Connections

PARALLEL_POSTS = 32
"""Posts under way at once: each waits for API Gateway, hardly any for the CPU."""

_PASSING = {"InternalException", "InternalFailure", "ServiceUnavailable", "Throttling", "ThrottlingException"}
"""EventBridge's error codes that may pass; the others say that the entry or the credentials are wrong."""

_CONFIG = Config(
    connect_timeout=2,
    read_timeout=5,
    max_pool_connections=PARALLEL_POSTS,
    retries={"mode": "standard", "max_attempts": 3},  # 429 and 5xx, with backoff
)


def secret_variables(secret_id: str) -> dict[str, str]:
    """The variables that a secret in Secrets Manager holds.

    Args:
        secret_id: its name or ARN.

    Raises:
        Misconfigured: there is no such secret, this role may not read it, or it is no JSON object of strings.
        Retryable: Secrets Manager does not answer.
    """
    client: Any = boto3.client("secretsmanager", config=_CONFIG)
    try:
        text = client.get_secret_value(SecretId=secret_id)["SecretString"]
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] < HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Misconfigured(f"HELIOS_SECRET_ID: {error}") from error
        raise Retryable(f"Secrets Manager: {error}") from error
    except BotoCoreError as error:
        raise Retryable(f"Secrets Manager: {error}") from error
    finally:
        client.close()
    try:
        return msgspec.json.decode(text, type=dict[str, str])
    except msgspec.DecodeError as error:  # without its text: that is the secret
        raise Misconfigured("HELIOS_SECRET_ID: the secret is no JSON object of strings") from error


class SqsBell:
    """Keeps ``Bell`` with a message to the queue that starts the relay function."""

    def __init__(self, queue_url: str) -> None:
        self._queue_url = queue_url
        self._sqs: Any = boto3.client("sqs", config=_CONFIG)

    def ring(self) -> None:
        """Start the relay function; what the message says doesn't matter."""
        try:
            self._sqs.send_message(QueueUrl=self._queue_url, MessageBody="ring")
        except (BotoCoreError, ClientError) as error:
            raise Retryable(f"SQS: {error}") from error


class EventBridgeTarget:
    """Keeps ``ReplayTarget`` with PutEvents; a bus gives each event a new id, so the old one stands in a resource."""

    batch = 10
    """Amazon EventBridge API Reference, "PutEvents": the most entries of one call."""

    def __init__(self, bus: str) -> None:
        """Build a client for a bus, by name or ARN.

        Raises:
            Rejected: boto3 finds no region to call.
        """
        self._bus = bus
        try:
            self._client: Any = boto3.client("events", config=_CONFIG)
        except BotoCoreError as error:
            raise Rejected(f"aws: {error}", field="target.cloud") from error

    def send(self, job: ReplayJob, events: Sequence[Event]) -> Iterator[Replayed]:
        """Put the events in one call, and report each up to the first that has to be put again."""
        try:
            answers = self._client.put_events(Entries=[self._entry(job, event) for event in events])["Entries"]
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise PutOff(f"EventBridge: {error}") from error
            if error.response["Error"]["Code"] in _PASSING:
                raise PutOff(f"EventBridge: {error}") from error
            if len(events) > 1:  # one that is too large spoils them all
                for event in events:
                    yield from self.send(job, [event])
                return
            answers = [{"ErrorCode": "Refused", "ErrorMessage": str(error)}]
        except BotoCoreError as error:
            raise PutOff(f"EventBridge: {error}") from error
        for event, answer in zip(events, answers, strict=True):
            code = answer.get("ErrorCode")
            if code in _PASSING:
                raise PutOff(f"EventBridge: {code}: {answer.get('ErrorMessage')}")
            reason = f"{event.source}/{event.id}: EventBridge: {code}: {answer.get('ErrorMessage')}"
            yield Replayed("failed", reason) if code else SENT

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _entry(self, job: ReplayJob, event: Event) -> dict[str, Any]:
        told = None if event.time == event.received_at else event.time
        original = Original(job=job.id, id=event.id, time=told, subject=event.subject)
        return {
            "EventBusName": self._bus,
            "Source": event.origin.rsplit("/", 2)[0] or "helios",
            "DetailType": event.type,
            "Detail": bytes(event.data).decode(),
            "Time": event.time,
            "Resources": [RESOURCE + msgspec.json.encode(original).decode()],
        }


class ApiGatewayBroadcaster:
    """Keeps ``Broadcaster`` with API Gateway's ``@connections``."""

    def __init__(self, endpoint_url: str, connections: Connections) -> None:
        """Broadcast to these connections.

        Args:
            endpoint_url: the stage's ``https://...execute-api.../{stage}`` (not ``wss``).
            connections: who is connected.
        """
        self._connections = connections
        self._gateway: Any = boto3.client("apigatewaymanagementapi", endpoint_url=endpoint_url, config=_CONFIG)
        self._threads = ThreadPoolExecutor(PARALLEL_POSTS, thread_name_prefix="post")

    def broadcast(self, message: bytes) -> None:
        """Post to every connection at once, and forget those that are gone or can't take it.

        A client that is forgotten while it is alive registers again with its next ping, and sees from the answer
        what it has missed.
        """
        ids = self._connections.all()
        delivered = self._threads.map(lambda connection: self.post(connection, message), ids)
        self._forget(connection for connection, done in zip(ids, delivered, strict=True) if not done)

    def post(self, connection: str, message: bytes) -> bool:
        """Whether this connection has taken the message; 410 Gone is how API Gateway says that it has left."""
        try:
            self._gateway.post_to_connection(ConnectionId=connection, Data=message)
        except (BotoCoreError, ClientError):
            return False
        return True

    def _forget(self, connections: Iterable[str]) -> None:
        for connection in connections:
            self._connections.remove(connection)
