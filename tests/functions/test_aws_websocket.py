"""The WebSocket Lambda, given what an API Gateway WebSocket API gives it."""

import contextlib
from typing import Any

import pytest

from helios.adapters.redis.tickets import RedisTickets
from tests.support.aws_lambda import Context

DASHBOARD = "https://helios.example"


def connect(headers: dict[str, str] | None, ticket: str | None) -> dict[str, Any]:
    """Amazon API Gateway Developer Guide, "Lambda proxy integration" of a WebSocket API's $connect."""
    return {
        "headers": headers,
        "queryStringParameters": {"ticket": ticket} if ticket is not None else None,
        "requestContext": {"routeKey": "$connect", "connectionId": "L0SM9cOFvHcCIhw=", "eventType": "CONNECT"},
        "isBase64Encoded": False,
    }


@pytest.fixture
def handler(load_handler, monkeypatch):
    monkeypatch.setenv("HELIOS_WEBSOCKET_ENDPOINT", "https://live.example/live")
    monkeypatch.setenv("HELIOS_DASHBOARD_ORIGIN", DASHBOARD)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    module = load_handler("aws/websocket/handler")
    yield module.handler
    module.tickets.close()
    module.connections._redis.close()


@pytest.fixture
def ticket(valkey_server):
    with contextlib.closing(RedisTickets(valkey_server.url)) as tickets:
        yield tickets.issue("token:kim")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": DASHBOARD}, 200),
        ({"origin": DASHBOARD}, 200),
        ({}, 200),
        (None, 200),
        ({"Origin": "https://evil.example"}, 401),
        ({"Origin": "null"}, 401),
        ({"Origin": f"{DASHBOARD}.evil.example"}, 401),
    ],
)
def test_another_web_page_may_not_watch_though_it_has_a_ticket(handler, ticket, headers, status):
    assert handler(connect(headers, ticket), Context()) == {"statusCode": status}


@pytest.mark.parametrize("shown", [None, "", "guess"])
def test_the_dashboard_may_not_watch_without_a_ticket(handler, shown):
    assert handler(connect({"Origin": DASHBOARD}, shown), Context()) == {"statusCode": 401}


def test_a_page_that_is_refused_uses_no_ticket_up(handler, ticket):
    assert handler(connect({"Origin": "https://evil.example"}, ticket), Context()) == {"statusCode": 401}
    assert handler(connect({"Origin": DASHBOARD}, ticket), Context()) == {"statusCode": 200}
    assert handler(connect({"Origin": DASHBOARD}, ticket), Context()) == {"statusCode": 401}
