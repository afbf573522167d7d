"""The redrive from SQS' dead-letter queue, on moto's SQS."""

import boto3
import pytest
from moto import mock_aws

from scripts.deploy import redrive


@pytest.fixture
def sqs(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield boto3.client("sqs")


def bodies(sqs, name):
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    result = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        result += [message["Body"] for message in messages]
    return sorted(result)


def test_every_message_is_moved_once(sqs, capsys):
    for name in (redrive.QUEUE, redrive.DEAD_LETTER_QUEUE):
        sqs.create_queue(QueueName=name)
    dead_letter_url = sqs.get_queue_url(QueueName=redrive.DEAD_LETTER_QUEUE)["QueueUrl"]
    for number in range(25):
        sqs.send_message(QueueUrl=dead_letter_url, MessageBody=f"{number:02}")

    assert redrive.main([]) == 0
    assert "25 messages moved" in capsys.readouterr().out
    assert bodies(sqs, redrive.QUEUE) == [f"{number:02}" for number in range(25)]
    assert bodies(sqs, redrive.DEAD_LETTER_QUEUE) == []


def test_a_missing_queue_is_reported(sqs, capsys):
    assert redrive.main(["--dead-letter-queue", "nothing"]) == 1
    assert "redrive: " in capsys.readouterr().err
