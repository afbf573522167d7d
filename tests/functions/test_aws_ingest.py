"""The ingest Lambda, given what SQS gives it."""

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
import redis

from helios.adapters.postgres.reader import PostgresReader
from helios.queries import DeadLetterFilter, EventFilter
from tests.support.deliveries import eventbridge

HANDLER = Path(__file__).parents[2] / "functions" / "aws" / "ingest" / "handler.py"

CONTEXT = {
    "function_name": "helios-ingest",
    "memory_limit_in_mb": 256,
    "invoked_function_arn": "arn:aws:lambda:eu-central-1:123456789012:function:helios-ingest",
    "aws_request_id": "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
}
Context = type("Context", (), CONTEXT)
"""Lambda's context, as far as Powertools reads it."""


def sqs(*bodies: bytes) -> dict:
    """AWS Lambda Developer Guide, "Using Lambda with Amazon SQS": a batch."""
    return {
        "Records": [
            {
                "messageId": str(uuid.UUID(int=number)),
                "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
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


@pytest.fixture
def ingest(load_handler, valkey_server):
    """The function after a cold start, with an empty Redis."""
    with redis.Redis.from_url(valkey_server.url) as connection:
        connection.flushall()
    return load_handler("aws/ingest/handler")


def test_a_batch_is_stored_and_poison_is_kept_and_acknowledged(ingest, pool):
    batch = sqs(eventbridge("1").body, b"{", eventbridge("1").body, eventbridge("2").body)

    assert ingest.handler(batch, Context()) == {"batchItemFailures": []}
    reader = PostgresReader(pool)
    assert {event.id for event in reader.events(EventFilter(), after=None, limit=10).items} == {"1", "2"}
    assert [kept.letter.body for kept in reader.dead_letters(DeadLetterFilter(), after=None, limit=10).items] == [b"{"]


def test_five_hundred_messages_are_one_batch(ingest, pool):
    """The cloud may send far more at once than the emulator does."""
    ingest.handler(sqs(*(eventbridge(str(number)).body for number in range(500))), Context())

    with pool.connection() as connection:
        assert connection.execute("SELECT count(*), (SELECT count(*) FROM frames) FROM events").fetchone() == (500, 1)


def test_every_invocation_says_one_wide_line_and_its_metrics(database_url, pool):
    """In a process of its own, as on Lambda: logs are what it writes to standard output."""
    script = f"import json, sys, handler; handler.handler(json.load(sys.stdin), type('Context', (), {CONTEXT})())"
    ran = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(sqs(eventbridge("1").body, b"{")),
        cwd=HANDLER.parent,
        env=os.environ | {"HELIOS_DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    (line,) = [line for line in lines if line.get("message") == "ingested"]
    (metrics,) = [line for line in lines if "_aws" in line]

    assert (line["events"], line["stored"], line["rejected"], line["sources"]) == (2, 1, 1, ["aws"])
    assert (metrics["stored"], metrics["rejected"]) == ([1.0], [1.0])


def test_without_a_database_every_message_is_handed_back(ingest, postgres_server):
    """Nothing is raised: that would cost the warm container, and say no more."""
    batch = sqs(eventbridge("1").body, b"{")
    postgres_server.stop()
    try:
        answer = ingest.handler(batch, Context())
    finally:
        postgres_server.start()

    assert answer == {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in batch["Records"]]}
    assert ingest.handler(batch, Context()) == {"batchItemFailures": []}


def test_a_missing_setting_stops_the_cold_start(load_handler, monkeypatch):
    monkeypatch.delenv("HELIOS_DATABASE_URL")

    with pytest.raises(Exception, match="HELIOS_DATABASE_URL is not set"):
        load_handler("aws/ingest/handler")
