"""Moves messages from SQS' dead-letter queue back to the ingest function's queue.

Amazon's StartMessageMoveTask does the same in AWS; this module works with every SQS API, emulators included.
"""

from typing import Any, Final

import boto3
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

from helios.errors import ConfigurationError, Retryable

QUEUE: Final = "helios-events"
DEAD_LETTER_QUEUE: Final = "helios-events-dlq"

BATCH: Final = 10
"""The largest number of messages that SQS returns, or accepts, in one call."""

HIDDEN_SECONDS: Final = 60
"""How long a message is invisible to other consumers while it is moved."""


def run(*, queue: str, dead_letter_queue: str, region: str | None = None) -> int:
    """Move the messages between two queues of these names, and return their number.

    Raises:
        ConfigurationError: the region or credentials are missing.
        Retryable: a call failed, or SQS refused a message. Moved messages stay moved.
    """
    try:
        sqs = boto3.client("sqs", region_name=region)
        source, target = (sqs.get_queue_url(QueueName=name)["QueueUrl"] for name in (dead_letter_queue, queue))
        return redrive(sqs, source, target)
    except NoRegionError as error:
        raise ConfigurationError(
            "aws: the region is not known. Use --region or --deployed, or set AWS_REGION."
        ) from error
    except NoCredentialsError as error:
        raise ConfigurationError("aws: no credentials. Set AWS_PROFILE, or run `aws sso login`.") from error
    except (BotoCoreError, ClientError, ValueError) as error:
        raise Retryable(f"aws: {error}") from error


def redrive(sqs: Any, source_url: str, target_url: str) -> int:
    """Move every message that can be received; each is deleted only after SQS accepted its copy.

    Args:
        sqs: a boto3 client.
        source_url: the dead-letter queue.
        target_url: the queue to move the messages to.

    Returns:
        The number of moved messages.

    Raises:
        Retryable: SQS refused a message.
    """
    moved = 0
    while messages := _receive(sqs, source_url):
        entries = [{"Id": str(number), "MessageBody": message["Body"]} for number, message in enumerate(messages)]
        sent = sqs.send_message_batch(QueueUrl=target_url, Entries=entries)
        accepted = [messages[int(entry["Id"])] for entry in sent.get("Successful", [])]
        for message in accepted:
            sqs.delete_message(QueueUrl=source_url, ReceiptHandle=message["ReceiptHandle"])
        moved += len(accepted)
        if failed := sent.get("Failed"):
            raise Retryable(f"aws: {moved} moved, then SQS refused {len(failed)}: {failed[0]['Message']}")
    return moved


def _receive(sqs: Any, url: str) -> list[dict[str, Any]]:
    answer = sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=BATCH, VisibilityTimeout=HIDDEN_SECONDS, WaitTimeSeconds=1
    )
    messages: list[dict[str, Any]] = answer.get("Messages", [])
    return messages
