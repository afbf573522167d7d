"""``python -m scripts.deploy.redrive``: hand back to the ingest function what SQS gave up on in a database outage.

Amazon's own StartMessageMoveTask does the same in the cloud; this one works wherever SQS is spoken, emulators too.
Running it twice does no harm: an event that was stored is a duplicate.
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
"""The most that SQS hands over, or takes, in one call."""

HIDDEN_SECONDS = 60
"""How long a message is hidden from others while it is being moved."""


def redrive(sqs: Any, source_url: str, target_url: str) -> int:
    """Move every message that can be received; each is deleted only after its copy was taken.

    Args:
        sqs: a boto3 client.
        source_url: the dead-letter queue.
        target_url: the queue it belongs to.

    Returns:
        How many were moved.
    """
    moved = 0
    while messages := _receive(sqs, source_url):
        entries = [{"Id": str(number), "MessageBody": one["Body"]} for number, one in enumerate(messages)]
        sent = sqs.send_message_batch(QueueUrl=target_url, Entries=entries)
        taken = [messages[int(entry["Id"])] for entry in sent.get("Successful", [])]
        for one in taken:
            sqs.delete_message(QueueUrl=source_url, ReceiptHandle=one["ReceiptHandle"])
        moved += len(taken)
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
    """Read the command line, and move; 1 when SQS can't be asked."""
    parser = argparse.ArgumentParser(prog="redrive", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--queue", default=QUEUE, help=f"name of the queue ({QUEUE})")
    parser.add_argument("--dead-letter-queue", default=DEAD_LETTER_QUEUE, help=f"name of its ({DEAD_LETTER_QUEUE})")
    given = parser.parse_args(arguments)
    sqs = boto3.client("sqs")
    try:
        source, target = (
            sqs.get_queue_url(QueueName=name)["QueueUrl"] for name in (given.dead_letter_queue, given.queue)
        )
        moved = redrive(sqs, source, target)
    except (BotoCoreError, ClientError, RuntimeError) as error:
        sys.stderr.write(f"redrive: {error}\n")
        return 1
    sys.stdout.write(f"{moved} messages moved from {given.dead_letter_queue} to {given.queue}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
