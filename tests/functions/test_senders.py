"""What real senders send, through the function of its cloud: the same events and dead letters as through the API."""

import http.client
from collections.abc import Callable, Iterator
from pathlib import Path

import functions_framework
import pytest
import redis
from starlette.testclient import TestClient

from helios import bootstrap
from helios.processes.ports import HOST
from helios.settings import Settings
from tests.support.aws_lambda import Context
from tests.support.envelopes import sqs_event
from tests.support.requests import Case, Sent, cases, missing
from tests.support.services import client_of

GCP = Path(__file__).parents[2] / "functions" / "gcp" / "main.py"
WEBHOOK = "/runtime/webhooks/EventGrid?functionName=ingest&code=event_grid"

Deliver = Callable[[Sent], int]


@pytest.fixture
def api(pool, database_url) -> Iterator[TestClient]:
    """The API on the database of the functions."""
    with client_of(bootstrap.build_long_lived(Settings(database_url=database_url, trust_loopback=True))) as client:
        yield client


@pytest.fixture
def deliver(api, host, load_handler, valkey_server, monkeypatch) -> Deliver:
    """Delivers a request to the function of its channel, or to the API if no function has the channel."""
    with redis.Redis.from_url(valkey_server.url) as connection:
        connection.flushall()
    lambda_ingest = load_handler("aws/ingest/handler")
    cloud_function = functions_framework.create_app("ingest", str(GCP), "cloudevent").test_client()

    def to_azure(body: bytes) -> int:
        headers = {"content-type": "application/json", "aeg-event-type": "Notification"}
        connection = http.client.HTTPConnection(HOST, host, timeout=30)
        connection.request("POST", WEBHOOK, body, headers)
        status = connection.getresponse().status
        connection.close()
        return status

    def deliver_one(sent: Sent) -> int:
        if sent.path.endswith("/aws/eventbridge"):
            assert lambda_ingest.handler(sqs_event(sent.body), Context()) == {"batchItemFailures": []}
            return 202
        if sent.path.endswith("/gcp/pubsub"):
            return cloud_function.post("/", data=sent.body, headers=sent.headers).status_code
        if sent.to_function or sent.path.endswith("/azure/eventgrid"):
            return to_azure(sent.body)
        return api.post(sent.path, content=sent.body, headers=sent.headers).status_code

    return deliver_one


LISTS = {"events": "/api/v1/events", "dead_letters": "/api/v1/dead-letters"}
OF_FUNCTIONS = [case for case in cases() if not case.request.path.endswith("/cloudevents")]


@pytest.mark.parametrize("case", OF_FUNCTIONS, ids=lambda case: case.name)
def test_a_request_of_a_real_sender(api: TestClient, deliver: Deliver, case: Case) -> None:
    """A golden case. A function acknowledges unreadable deliveries too, once they are dead letters.

    A case that names the function goes through the API with its other requests.
    """
    for sent in case.first:
        if case.needs_function and not sent.to_function:
            api.post(sent.path, content=sent.body, headers=sent.headers)
        else:
            deliver(sent)
    assert deliver(case.request) in {200, 202}

    expected = {name: case.expected[name] for name in LISTS if "then" not in case.expected and name in case.expected}
    shown = {name: api.get(LISTS[name]).json()["items"] for name in expected}
    for lists in (shown, expected):
        for items in lists.values():  # the host calls the function for the events of an array in any order
            items.sort(key=lambda item: str(item.get("body") or item.get("id")))
    assert missing(shown, expected) == []
    for look in case.expected.get("then", []):
        assert missing(api.get(look["get"]).json(), look["has"]) == []
