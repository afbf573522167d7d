"""The WebSocket Lambda with events of an API Gateway WebSocket API."""

import contextlib
from typing import Any

import pytest

from helios.adapters.redis.tickets import RedisTickets
from helios.model.access import Visibility
from helios.model.tokens import TicketHolder
from tests.support.aws_lambda import Context

DASHBOARD = "https://helios.example"


def connect(headers: dict[str, str] | None, ticket: str | None) -> dict[str, Any]:
    """An event of $connect: Amazon API Gateway Developer Guide, "Lambda proxy integration" of a WebSocket API."""
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
        yield tickets.issue(TicketHolder(name="token:kim"))


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
def test_a_connection_from_another_origin_is_refused_even_with_a_ticket(handler, ticket, headers, status):
    assert handler(connect(headers, ticket), Context()) == {"statusCode": status}


@pytest.mark.parametrize("invalid_ticket", [None, "", "guess"])
def test_a_connection_without_a_valid_ticket_is_refused(handler, invalid_ticket):
    assert handler(connect({"Origin": DASHBOARD}, invalid_ticket), Context()) == {"statusCode": 401}


def test_a_connection_of_a_token_with_limits_is_refused(handler, valkey_server):
    """The relay sends the same messages to all connections."""
    with contextlib.closing(RedisTickets(valkey_server.url)) as tickets:
        limited = TicketHolder(name="token:kim", visibility=Visibility(masked=("customer_id",)))
        assert handler(connect({}, tickets.issue(limited)), Context()) == {"statusCode": 401}


def test_a_refused_origin_does_not_redeem_the_ticket(handler, ticket):
    assert handler(connect({"Origin": "https://evil.example"}, ticket), Context()) == {"statusCode": 401}
    assert handler(connect({"Origin": DASHBOARD}, ticket), Context()) == {"statusCode": 200}
    assert handler(connect({"Origin": DASHBOARD}, ticket), Context()) == {"statusCode": 401}
