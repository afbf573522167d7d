"""The redrive from SQS' dead-letter queue, on moto's SQS."""

import boto3
import pytest
from moto import mock_aws

from scripts.redrive import run as redrive
from scripts.redrive.aws import DEAD_LETTER_QUEUE, QUEUE


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
    for name in (QUEUE, DEAD_LETTER_QUEUE):
        sqs.create_queue(QueueName=name)
    dead_letter_url = sqs.get_queue_url(QueueName=DEAD_LETTER_QUEUE)["QueueUrl"]
    for number in range(25):
        sqs.send_message(QueueUrl=dead_letter_url, MessageBody=f"{number:02}")

    assert redrive.main(["aws"]) == 0
    assert "25 messages moved" in capsys.readouterr().out
    assert bodies(sqs, QUEUE) == [f"{number:02}" for number in range(25)]
    assert bodies(sqs, DEAD_LETTER_QUEUE) == []


def test_a_missing_queue_is_reported(sqs, capsys):
    assert redrive.main(["aws", "--dead-letter-queue", "nothing"]) == 1
    assert "redrive: " in capsys.readouterr().err


def test_the_names_of_a_deployment_come_from_the_outputs_of_terraform(sqs, monkeypatch, capsys):
    urls = {name: sqs.create_queue(QueueName=f"stage-{name}")["QueueUrl"] for name in ("events", "events-dlq")}
    sqs.send_message(QueueUrl=urls["events-dlq"], MessageBody="{}")
    known = {
        "region": "eu-central-1",
        "queue_url": urls["events"],
        "dead_letter_queue_url": urls["events-dlq"],
    }
    monkeypatch.setattr(redrive, "outputs", lambda cloud: known if cloud.environment == "stage" else {})
    assert redrive.main(["aws", "--env", "stage"]) == 0
    assert capsys.readouterr().out == "1 messages moved from stage-events-dlq to stage-events\n"
