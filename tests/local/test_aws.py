"""Events on the emulated bus reach Postgres through the emulated queue and the real function."""

import contextlib
import json
import time
import urllib.request
from datetime import UTC, datetime

import psycopg
import pytest

from local.aws import deployer, resources
from local.stack.config import BUS, DEAD_LETTER_QUEUE, INGEST_FUNCTION, QUEUE, SCHEDULE
from scripts.build.package import NATIVE


@pytest.fixture
def client(aws_stack):
    """Makes boto3 clients, which are closed after the test."""
    with contextlib.ExitStack() as stack:
        endpoint = aws_stack.deployed.endpoint
        yield lambda service: stack.enter_context(contextlib.closing(resources.client(service, endpoint)))


def put(client, *details):
    """The ids of new events on the bus, one for each detail."""
    entries = [
        {"EventBusName": BUS, "Source": "shop", "DetailType": "OrderPlaced", "Detail": json.dumps(detail)}
        for detail in details
    ]
    reply = client("events").put_events(Entries=entries)
    assert reply["FailedEntryCount"] == 0
    return {entry["EventId"] for entry in reply["Entries"]}


def stored(aws_stack, ids):
    """The ids that Postgres has."""
    with psycopg.connect(aws_stack.database_url) as connection:
        rows = connection.execute("SELECT id FROM events WHERE source = 'aws' AND id = ANY(%s)", [list(ids)])
        return {row[0] for row in rows}


def wait_until_stored(aws_stack, ids, seconds=60):
    """The ids that Postgres has, once it has all of them or the time is over."""
    deadline = time.monotonic() + seconds
    while (stored_ids := stored(aws_stack, ids)) != ids and time.monotonic() < deadline:
        time.sleep(0.05)
    return stored_ids


def test_an_event_on_the_bus_is_stored(aws_stack, client):
    ids = put(client, *({"order_id": f"ORD-{n}", "amount": 9.5} for n in range(10)))
    assert wait_until_stored(aws_stack, ids) == ids


def test_an_event_has_the_time_of_its_entry_or_else_that_of_the_call(aws_stack, client):
    """ministack gives every event the time of the call; `local/aws/eventbridge.py` adds this."""
    earlier = datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC)
    entry = {"EventBusName": BUS, "Source": "shop", "DetailType": "OrderPlaced", "Detail": "{}"}
    before = datetime.now(UTC).replace(microsecond=0)
    reply = client("events").put_events(
        Entries=[entry | {"Time": earlier}, entry, entry | {"EventBusName": BUS, "Source": "aws.shop"}]
    )
    assert reply["FailedEntryCount"] == 1
    timed, untimed, refused = reply["Entries"]
    assert refused["ErrorCode"] == "NotAuthorizedForSourceException"
    ids = {timed["EventId"], untimed["EventId"]}
    assert wait_until_stored(aws_stack, ids) == ids

    with psycopg.connect(aws_stack.database_url) as connection:
        rows = connection.execute("SELECT id, time FROM events WHERE id = ANY(%s)", [list(ids)]).fetchall()
    times: dict[str, datetime] = dict(rows)
    assert times[timed["EventId"]] == earlier
    assert before <= times[untimed["EventId"]] <= datetime.now(UTC)


def test_the_functions_do_not_get_the_developer_s_aws_settings(aws_stack):
    assert not [name for name in aws_stack.server._environment() if name.startswith("AWS_") and "METADATA" not in name]


def test_the_api_answers_through_api_gateway(aws_stack):
    with urllib.request.urlopen(f"{aws_stack.deployed.api_url}/api/v1/health", timeout=60) as answer:
        assert json.load(answer) == {"status": "healthy"}


def deployed_resources(client):
    """The number of resources of each kind."""
    functions, gateway, events = client("lambda"), client("apigatewayv2"), client("events")
    apis = gateway.get_apis()["Items"]
    rules = [(QUEUE, BUS), (SCHEDULE, "default")]
    return {
        "functions": len(functions.list_functions()["Functions"]),
        "mappings": len(functions.list_event_source_mappings()["EventSourceMappings"]),
        "apis": len(apis),
        "routes": sum(len(gateway.get_routes(ApiId=api["ApiId"])["Items"]) for api in apis),
        "targets": sum(len(events.list_targets_by_rule(Rule=name, EventBusName=bus)["Targets"]) for name, bus in rules),
        "queues": len(client("sqs").list_queues()["QueueUrls"]),
    }


def test_a_second_deployment_creates_no_second_resource(aws_stack, client):
    packages = {row.package: NATIVE / f"{row.package}.zip" for row in deployer.FUNCTIONS}
    second = deployer.deploy(aws_stack.deployed.endpoint, packages, aws_stack.environment, visibility_seconds=2)
    assert second == aws_stack.deployed
    assert deployed_resources(client) == {
        "functions": 5,
        "mappings": 2,
        "apis": 2,
        "routes": 4,
        "targets": 3,
        "queues": 3,
    }
    ids = put(client, {"order_id": "ORD-AGAIN", "amount": 1})
    assert wait_until_stored(aws_stack, ids) == ids


def test_the_url_of_the_relay_queue_is_known_before_the_deployment(aws_stack):
    """The demo's API gets the URL for its notifications before the queue exists."""
    endpoint = aws_stack.deployed.endpoint
    assert aws_stack.deployed.relay_queue_url == deployer.relay_queue_url(endpoint)


def test_the_queue_retries_for_twelve_hours_before_it_dead_letters(aws_stack, client):
    attributes = client("sqs").get_queue_attributes(QueueUrl=aws_stack.deployed.queue_url, AttributeNames=["All"])
    redrive = json.loads(attributes["Attributes"]["RedrivePolicy"])
    assert int(redrive["maxReceiveCount"]) * deployer.VISIBILITY_SECONDS >= 12 * 3600
    assert redrive["deadLetterTargetArn"].endswith(f":{DEAD_LETTER_QUEUE}")
    policy = json.loads(attributes["Attributes"]["Policy"])
    assert policy["Statement"][0]["Principal"] == {"Service": "events.amazonaws.com"}


def test_the_mapping_lets_the_function_report_failed_items_of_a_batch(client):
    mappings = client("lambda").list_event_source_mappings(FunctionName=INGEST_FUNCTION)
    (mapping,) = mappings["EventSourceMappings"]
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["BatchSize"] == deployer.BATCH_SIZE
