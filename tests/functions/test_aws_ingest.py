"""The ingest Lambda with events of SQS."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from helios.adapters.postgres.reader import PostgresReader
from helios.errors import Retryable
from helios.model.dead_letters import DeadLetterFilter
from helios.model.events import EventFilter
from tests.support.aws_lambda import Context
from tests.support.deliveries import aws_key, eventbridge
from tests.support.envelopes import sqs_event

REPOSITORY = Path(__file__).parents[2]


def rule(event: dict) -> dict:
    return event


def topic(event: dict) -> dict:
    sns = {"Type": "Notification", "TopicArn": "arn:aws:sns:eu-central-1:1:orders", "Message": json.dumps(event)}
    return {"Records": [{"EventSource": "aws:sns", "Sns": sns}]}


def pipe(event: dict) -> list:
    return [event]


@pytest.fixture
def ingest(load_handler, valkey_server):
    """The function after a cold start, with an empty Redis."""
    with redis.Redis.from_url(valkey_server.url) as connection:
        connection.flushall()
    return load_handler("aws/ingest/handler")


def test_a_batch_is_stored_and_poison_becomes_an_acknowledged_dead_letter(ingest, pool):
    batch = sqs_event(eventbridge("1").body, b"{", eventbridge("1").body, eventbridge("2").body)

    assert ingest.handler(batch, Context()) == {"batchItemFailures": []}
    reader = PostgresReader(pool)
    assert {event.id for event in reader.events(EventFilter(), after=None, limit=10).items} == {"1", "2"}
    assert [
        stored.dead_letter.body for stored in reader.dead_letters(DeadLetterFilter(), after=None, limit=10).items
    ] == [b"{"]


def test_what_a_message_says_beside_its_body_is_stored(ingest, pool):
    batch = sqs_event(eventbridge("1").body)
    batch["Records"][0]["attributes"] = {"MessageGroupId": "ORD-1", "AWSTraceHeader": "Root=1", "SentTimestamp": "1"}
    batch["Records"][0]["messageAttributes"] = {"tenant": {"stringValue": "t1", "dataType": "String"}}
    ingest.handler(batch, Context())

    event = PostgresReader(pool).event(aws_key("1"))
    assert event
    assert event.attributes == {"MessageGroupId": "ORD-1", "AWSTraceHeader": "Root=1", "tenant": "t1"}


def test_an_array_in_a_message_is_split(ingest, pool):
    """A pipe of EventBridge sends its batch as an array."""
    array = b"[" + eventbridge("1").body + b"," + eventbridge("2").body + b"]"
    ingest.handler(sqs_event(array), Context())

    assert {event.id for event in PostgresReader(pool).events(EventFilter(), after=None, limit=10).items} == {"1", "2"}


@pytest.mark.parametrize("wrapped", [rule, topic, pipe])
def test_events_that_come_without_a_queue_are_stored(ingest, pool, wrapped):
    """A rule of EventBridge, an SNS topic and a pipe can call the function directly."""
    assert ingest.handler(wrapped(json.loads(eventbridge("1").body)), Context()) == {"batchItemFailures": []}
    assert PostgresReader(pool).event(aws_key("1")) is not None


def test_without_a_queue_and_a_database_the_call_fails(ingest, postgres_server):
    """The caller then repeats it."""
    postgres_server.stop()
    try:
        with pytest.raises(Retryable):
            ingest.handler(json.loads(eventbridge("1").body), Context())
    finally:
        postgres_server.start()


def test_five_hundred_messages_are_one_batch(ingest, pool):
    """The cloud may send larger batches than the emulator."""
    ingest.handler(sqs_event(*(eventbridge(str(number)).body for number in range(500))), Context())

    with pool.connection() as connection:
        assert connection.execute("SELECT count(*), (SELECT count(*) FROM frames) FROM events").fetchone() == (500, 1)


def test_every_invocation_logs_one_wide_line_and_its_metrics(database_url, pool):
    """The handler runs in a separate process, as on Lambda, and logs to standard output."""
    process = subprocess.run(
        [sys.executable, "-m", "tests.support.aws_lambda", "functions.aws.ingest.handler"],
        input=json.dumps(sqs_event(eventbridge("1").body, b"{")),
        cwd=REPOSITORY,
        env=os.environ | {"HELIOS_DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    lines = [json.loads(line) for line in process.stdout.splitlines()]
    (line,) = [line for line in lines if line.get("message") == "ingested"]
    (metrics,) = [line for line in lines if "_aws" in line]

    assert (line["events"], line["stored"], line["rejected"], line["sources"]) == (2, 1, 1, ["aws"])
    assert (metrics["stored"], metrics["rejected"]) == ([1.0], [1.0])


def test_without_a_database_every_message_is_a_batch_item_failure(ingest, postgres_server):
    """The handler raises nothing, because an error would end the warm container without more information."""
    batch = sqs_event(eventbridge("1").body, b"{")
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
