"""The functions of AWS answer from the archive what Postgres no longer has, with S3 in a process of its own."""

import base64
import json
import os
import subprocess
import sys
from contextlib import closing
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest

from helios.adapters.postgres.replay import PostgresReplayJobs
from helios.adapters.postgres.tokens import PostgresTokens
from helios.model.tokens import Token, digest, mint
from helios.processes.ports import HOST, free_port
from tests.fixtures.objects import BUCKET
from tests.support.api import ROOT
from tests.support.archive import NOW, ArchivedDatabase, days, fill, open_database
from tests.support.aws_lambda import request
from tests.support.deliveries import NOON
from tests.support.flow_versions import approve, recomputing

CALLS = """
import asyncio, importlib, json, sys
from tests.support.aws_lambda import Context
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
handler = importlib.import_module(sys.argv[1]).handler
for event in json.load(sys.stdin):
    answer = handler(event, Context(900))
    packages = sorted({"duckdb", "obstore"} & sys.modules.keys())
    print(json.dumps({"answer": answer, "packages": packages}), flush=True)
"""
"""Calls a function several times after one cold start, as Lambda does."""


LAST_DAY = "2025-11-03T00:00:00Z"
SINCE = f"since={LAST_DAY}"


@pytest.fixture
def archived(archive_database_url, s3_server, tmp_path, monkeypatch):
    """A database with a partition for each day, and an empty archive in S3."""
    for variable, value in s3_server.environment.items():
        monkeypatch.setitem(os.environ, variable, value)
    with closing(open_database(archive_database_url, f"s3://{BUCKET}/{tmp_path.name}")) as database:
        yield database


@pytest.fixture
def dropped(archived) -> ArchivedDatabase:
    """Three days of five orders, of which only the last one is still in Postgres."""
    fill(archived, number=5)
    archived.archive.run(NOW)
    for day in days(2):
        archived.drop(day)
    return archived


@pytest.fixture
def reader(archived) -> dict[str, str]:
    """The header of a token that may read and replay."""
    secret = mint()
    token = Token(name="kim", scopes=("read", "replay"), created_at=NOON)
    PostgresTokens(archived.pool).add(digest(secret), token)
    return {"authorization": f"Bearer {secret}", "content-type": "application/json", "host": "api.example"}


def calls(module, archived, events, **variables):
    """What a function answers to these events, and the packages of the archive that it had imported by then."""
    environment = os.environ | {
        "HELIOS_DATABASE_URL": archived.url,
        "HELIOS_ARCHIVE_URL": archived.archive_url,
        "HELIOS_WEBHOOK_AUTH": "closed",
        "AWS_DEFAULT_REGION": os.environ["AWS_REGION"],
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
        "HOME": "/nonexistent",
        "POWERTOOLS_METRICS_NAMESPACE": "Helios",
    }
    process = subprocess.run(
        [sys.executable, "-c", CALLS, module],
        input=json.dumps(events),
        cwd=ROOT,
        env={name: value for name, value in (environment | variables).items() if value},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert process.returncode == 0, process.stderr
    return [json.loads(line) for line in process.stdout.splitlines() if line.startswith('{"answer"')]


class Answer(NamedTuple):
    """What the API answered, and the packages of the archive that it had imported by then."""

    status: int
    body: Any
    packages: list[str]


def api(archived, reader, *requests, **variables) -> list[Answer]:
    """What the API answers to some requests after one cold start."""
    events = [
        request(method, path, body=body.encode(), query=query, headers=reader) for method, path, query, body in requests
    ]
    return [
        Answer(called["answer"]["statusCode"], body_of(called["answer"]), called["packages"])
        for called in calls("functions.aws.api.handler", archived, events, **variables)
    ]


def body_of(answer):
    body = answer["body"]
    return json.loads(base64.b64decode(body) if answer["isBase64Encoded"] else body)


def get(path, query=""):
    return "GET", path, query, ""


def test_the_api_answers_from_the_archive_and_opens_it_with_the_first_read_that_needs_it(dropped, reader):
    hot, listed = api(dropped, reader, get("/api/v1/events", SINCE), get("/api/v1/events", "order_id=ORD-3"))

    assert (hot.status, hot.packages) == (200, [])
    assert [event.get("archived") for event in hot.body["items"]] == [None] * 10
    assert (listed.status, listed.packages) == (200, ["duckdb", "obstore"])
    assert [(event["source"], event["archived"]) for event in listed.body["items"]] == [("azure", True), ("aws", True)]


def test_an_event_and_the_page_of_an_order_come_from_the_archive(dropped, reader):
    (listed,) = api(dropped, reader, get("/api/v1/events", "order_id=ORD-3&source=aws"))
    (event,) = listed.body["items"]
    one, order, unknown = api(
        dropped,
        reader,
        get("/api/v1/events/aws/aws-3", urlencode({"producer": event["producer"]})),
        get("/api/v1/flows/order/ORD-3"),
        get("/api/v1/flows/order/ORD-9"),
    )

    assert one.body == event
    assert order.body["rebuilt"] is True
    assert [each["archived"] for each in order.body["events"]] == [True, True]
    assert unknown.status == 404


def test_a_replay_of_archived_events_is_counted_by_the_api_and_sent_by_its_function(dropped, reader):
    wanted = {"what": "events", "target": {"kind": "relay"}, "filter": {"until": LAST_DAY}, "per_second": 1000}
    (started,) = api(dropped, reader, ("POST", "/api/v1/replays", "", json.dumps(wanted)))
    assert (started.status, started.body["matching"]) == (201, 20)

    (called,) = calls("functions.aws.replay.handler", dropped, [{}])

    assert called == {"answer": {"lock_acquired": True}, "packages": ["duckdb", "obstore"]}
    job = PostgresReplayJobs(dropped.pool).get(started.body["id"])
    assert job is not None
    assert (job.state, job.sent) == ("done", 20)


def test_the_sweep_recomputes_the_instances_of_archived_events(dropped):
    assert calls("functions.aws.sweep.handler", dropped, [{}])[0]["packages"] == []

    approve(dropped.pool)
    assert calls("functions.aws.sweep.handler", dropped, [{}])[0]["packages"] == ["duckdb", "obstore"]
    assert recomputing(dropped.pool) == []
    with dropped.pool.connection() as connection:
        keys = {key for (key,) in connection.execute("SELECT key FROM flow_instances").fetchall()}
    assert keys == {f"ORD-{1000 * day + number}" for day in range(3) for number in range(5)}


REFUSALS = {
    "a role without the right": {"AWS_ACCESS_KEY_ID": "another", "AWS_SECRET_ACCESS_KEY": "x"},
    "a store that does not answer": {"AWS_ENDPOINT_URL": f"http://{HOST}:1"},
    "credentials that are in no secret": {"ARCHIVE_SECRET_ID": "archive"},
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_while_the_archive_can_not_be_read_the_api_says_so_and_answers_the_rest(dropped, reader, refusal):
    variables = REFUSALS[refusal]
    if "ARCHIVE_SECRET_ID" in variables:
        variables = variables | {"AWS_ENDPOINT_URL_SECRETS_MANAGER": f"http://{HOST}:{free_port()}"}

    hot, cold, again = api(
        dropped,
        reader,
        get("/api/v1/events", SINCE),
        get("/api/v1/events", "order_id=ORD-3"),
        get("/api/v1/events", "order_id=ORD-2003"),
        **variables,
    )

    assert (hot.status, len(hot.body["items"])) == (200, 10)
    assert (cold.status, cold.body["status"], cold.body["title"]) == (503, 503, "Service Unavailable")
    assert (again.status, len(again.body["items"])) == (200, 2)


def test_without_an_archive_the_api_answers_from_postgres_alone(dropped, reader):
    listed, cold = api(
        dropped, reader, get("/api/v1/events"), get("/api/v1/events", "order_id=ORD-3"), HELIOS_ARCHIVE_URL=""
    )

    assert (listed.status, len(listed.body["items"]), listed.packages) == (200, 10, [])
    assert (cold.status, cold.body["items"]) == (200, [])
