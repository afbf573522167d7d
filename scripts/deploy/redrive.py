"""``python -m scripts.deploy.redrive``: moves messages from SQS' dead-letter queue back to the ingest function's queue.

Amazon's StartMessageMoveTask does the same in AWS; this command works with every SQS API, emulators included. It is
safe to run twice: Helios recognises an event that it stored before as a duplicate.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

QUEUE = "helios-events"
DEAD_LETTER_QUEUE = "helios-events-dlq"

BATCH = 10
"""The largest number of messages that SQS returns, or accepts, in one call."""

HIDDEN_SECONDS = 60
"""How long a message is invisible to other consumers while it is moved."""


def redrive(sqs: Any, source_url: str, target_url: str) -> int:
    """Move every message that can be received; each is deleted only after SQS accepted its copy.

    Args:
        sqs: a boto3 client.
        source_url: the dead-letter queue.
        target_url: the queue to move the messages to.

    Returns:
        The number of moved messages.

    Raises:
        RuntimeError: SQS refused a message.
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
            raise RuntimeError(f"{moved} moved, then SQS refused {len(failed)}: {failed[0]['Message']}")
    return moved


def _receive(sqs: Any, url: str) -> list[dict[str, Any]]:
    answer = sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=BATCH, VisibilityTimeout=HIDDEN_SECONDS, WaitTimeSeconds=1
    )
    messages: list[dict[str, Any]] = answer.get("Messages", [])
    return messages


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and move the messages; returns 1 when a call to SQS failed."""
    parser = argparse.ArgumentParser(prog="redrive", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--queue", default=QUEUE, help=f"name of the queue ({QUEUE})")
    parser.add_argument(
        "--dead-letter-queue", default=DEAD_LETTER_QUEUE, help=f"name of its dead-letter queue ({DEAD_LETTER_QUEUE})"
    )
    options = parser.parse_args(arguments)
    sqs = boto3.client("sqs")
    try:
        source, target = (
            sqs.get_queue_url(QueueName=name)["QueueUrl"] for name in (options.dead_letter_queue, options.queue)
        )
        moved = redrive(sqs, source, target)
    except (BotoCoreError, ClientError, RuntimeError) as error:
        sys.stderr.write(f"redrive: {error}\n")
        return 1
    sys.stdout.write(f"{moved} messages moved from {options.dead_letter_queue} to {options.queue}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
