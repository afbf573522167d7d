"""The API Lambda with events of an API Gateway HTTP API."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from helios.adapters.postgres.tokens import PostgresTokens
from helios.model.tokens import Token, digest, mint
from tests.support.aws_lambda import request
from tests.support.deliveries import NOON, eventbridge

KEY = {"x-helios-key": "the-secret-of-the-api-destination"}


@pytest.fixture
def api(load_handler, monkeypatch) -> Iterator[Any]:
    """The function after a cold start, on an event loop that the test closes, because Mangum never closes its own."""
    monkeypatch.setenv("HELIOS_WEBHOOK_AUTH", "eventbridge=key")
    monkeypatch.setenv("HELIOS_EVENTBRIDGE_SECRET", KEY["x-helios-key"])
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield load_handler("aws/api/handler").handler
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    asyncio.set_event_loop(None)


def test_the_api_works_unchanged_behind_api_gateway(api, pool):
    """Several requests use one warm container. The first one must not close resources that the second needs."""
    secret = mint()
    PostgresTokens(pool).add(digest(secret), Token(name="kim", scopes=("read",), created_at=NOON))
    posts = [
        api(request("POST", "/api/v1/webhooks/aws/eventbridge", eventbridge("1").body, headers=KEY), {})
        for _ in range(2)
    ]
    assert api(request("GET", "/api/v1/events"), {})["statusCode"] == 401
    reader = {"authorization": f"Bearer {secret}"}
    listed = api(request("GET", "/api/v1/events", query="source=aws", headers=reader), {})

    assert [(answer["statusCode"], json.loads(answer["body"])["status"]) for answer in posts] == [
        (202, "stored"),
        (202, "duplicate"),
    ]
    assert [event["id"] for event in json.loads(listed["body"])["items"]] == ["1"]


def test_a_bad_request_is_a_problem_behind_api_gateway(api):
    answer = api(request("POST", "/api/v1/webhooks/aws/eventbridge", b"{", headers=KEY), {})

    assert (answer["statusCode"], answer["headers"]["content-type"]) == (400, "application/problem+json")


def test_a_function_in_the_cloud_requires_credentials(api):
    """This includes a request that claims a loopback address."""
    event = request("POST", "/api/v1/webhooks/aws/eventbridge", eventbridge().body, headers={"host": "127.0.0.1"})
    event["requestContext"]["http"]["sourceIp"] = "127.0.0.1"

    assert api(event, {})["statusCode"] == 401
