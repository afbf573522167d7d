"""Concurrent senders, over HTTP, into a real database."""

import asyncio
import json
import shlex
import shutil
import subprocess
from collections import Counter
from urllib.parse import quote, urlsplit

import pytest

from helios.processes.process import scrubbed_environment
from tests.support.api import Api
from tests.support.client import EVENTBRIDGE, EVENTGRID, call, post, session
from tests.support.deliveries import aws_key, azure_key, eventbridge, eventgrid

CURL = r"""
curl -X POST http://localhost:8001/api/v1/webhooks/aws/eventbridge -H 'Content-Type: application/json' -d '{"version":"0","id":"test-123","detail-type":"OrderPlaced","source":"test","account":"123","time":"2025-11-26T12:00:00Z","region":"us-east-1","detail":{"order_id":"ORD-TEST-123","customer_id":"CUST-TEST","amount":999.99}}'
"""  # noqa: E501 - copied from the documentation
DEMO_PORT = ":8001/"


def run_curl(command: str, url: str) -> int:
    """The status of the command's request, sent to this API's port, by curl if it is installed."""
    arguments = shlex.split(command.replace(DEMO_PORT, f":{urlsplit(url).port}/"))
    if shutil.which("curl"):
        extra = ["--silent", "--show-error", "--output", "/dev/null", "--write-out", "%{http_code}"]
        ran = subprocess.run(
            [*arguments, *extra], env=scrubbed_environment(), capture_output=True, check=True, timeout=30
        )
        return int(ran.stdout)
    return call(url, EVENTBRIDGE, arguments[-1].encode()).status


def at_once(url: str, *requests: tuple[str, bytes]):
    """The answers to requests that are sent concurrently, each on its own connection."""

    async def send():
        async with session(url, clients=len(requests)) as opened:
            return await asyncio.gather(*(post(opened, path, body) for path, body in requests))

    return asyncio.run(send())


@pytest.fixture
def second_api(database_url, redis_url, server_folder):
    """Another API process on the same servers."""
    with Api(database_url=database_url, redis_url=redis_url, log=server_folder / "second-api.log") as running:
        yield running


def array(*ids: str) -> bytes:
    """An Event Grid array of events with these ids."""
    return json.dumps([json.loads(eventgrid(id_).body) for id_ in ids]).encode()


def test_the_documented_curl_command_stores_an_event(api, records):
    assert run_curl(CURL, api.url) == 202

    (event,) = call(api.url, "/api/v1/events").body["items"]
    assert (event["source"], event["id"], event["type"]) == ("aws", "test-123", "OrderPlaced")
    assert (event["order_id"], event["customer_id"]) == ("ORD-TEST-123", "CUST-TEST")
    assert event["data"] == {"order_id": "ORD-TEST-123", "customer_id": "CUST-TEST", "amount": 999.99}
    assert call(api.url, f"/api/v1/events/aws/test-123?producer={quote(event['producer'], safe='')}").body == event
    stats = call(api.url, "/api/v1/stats").body
    assert (stats["total_events"], stats["events_by_source"]) == (1, {"aws": 1, "gcp": 0, "azure": 0})
    records.assert_exact()


def test_fifty_identical_requests_store_one_event(api, records):
    answers = at_once(api.url, *[(EVENTBRIDGE, eventbridge("1").body)] * 50)

    assert {answer.status for answer in answers} == {202}
    assert Counter(answer.body["status"] for answer in answers) == {"stored": 1, "duplicate": 49}
    assert records.keys() == [aws_key("1")]
    assert call(api.url, "/api/v1/stats").body["duplicates"] == 49
    records.assert_exact()


def test_the_same_id_from_two_clouds_is_two_events(api, records):
    answers = at_once(api.url, (EVENTBRIDGE, eventbridge("1").body), (EVENTGRID, eventgrid("1").body))

    assert [answer.body["status"] for answer in answers] == ["stored", "stored"]
    assert records.keys() == [aws_key("1"), azure_key("1")]
    records.assert_exact()


def test_an_array_may_contain_a_stored_event(api, records):
    call(api.url, EVENTGRID, array("1"))
    answer = call(api.url, EVENTGRID, array("1", "2", "3"))

    assert answer.status == 200
    assert [result["status"] for result in answer.body["results"]] == ["duplicate", "stored", "stored"]
    assert records.ids("azure") == ["1", "2", "3"]
    records.assert_exact()


def test_two_processes_that_ingest_the_same_arrays_store_each_event_once(api, second_api, records):
    """Each event is sent four times, in different arrays and orders: one request stores it, and none deadlocks."""
    ids = [f"{number:03}" for number in range(200)]
    orders = [ids, ids[::-1], ids[1::2] + ids[::2], ids[100:] + ids[:100]]
    requests = [[(EVENTGRID, array(*order[at : at + 50])) for at in range(0, 200, 50)] for order in orders]

    async def send():
        async with session(api.url, clients=8) as first, session(second_api.url, clients=8) as second:
            senders = [first, second, first, second]
            return await asyncio.gather(
                *(post(sender, *request) for sender, sent in zip(senders, requests, strict=True) for request in sent)
            )

    answers = asyncio.run(send())
    assert {answer.status for answer in answers} == {200}
    statuses = Counter(result["status"] for answer in answers for result in answer.body["results"])
    assert statuses == {"stored": 200, "duplicate": 600}
    assert records.ids("azure") == ids
    records.assert_exact()
