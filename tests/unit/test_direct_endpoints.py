"""Webhooks bypass the middleware. Their responses are those that they would have behind it."""

import json
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from helios.api import create_app
from helios.errors import Retryable
from tests.fakes.store import MemoryStore
from tests.support.services import in_memory

PATH = "/api/v1/webhooks/aws/eventbridge"
EVENT = {
    "version": "0",
    "id": "1",
    "detail-type": "OrderPlaced",
    "source": "shop.orders",
    "account": "123456789012",
    "time": "2025-11-26T12:00:00Z",
    "region": "eu-central-1",
    "detail": {"order_id": "ORD-1", "amount": 1},
}


@pytest.fixture(scope="module")
def app():
    return create_app(in_memory(MemoryStore()))


def answers(app, content: bytes, headers=(), *, url="http://127.0.0.1", sender="127.0.0.1") -> Iterator[tuple]:
    """The answers on the direct path, and on the path with a slash at its end, which goes through the middleware."""
    client = TestClient(app, base_url=url, client=(sender, 50000))
    for path in (PATH, f"{PATH}/"):
        response = client.post(path, content=content, headers={"content-type": "application/json"} | dict(headers))
        yield response.status_code, response.content, sorted(response.headers.multi_items())


CASES = {
    "a duplicate": (json.dumps(EVENT).encode(), {}, {}, 202),
    "an empty array": (b"[]", {}, {}, 202),
    "rejected": (b"{}", {}, {}, 400),
    "another type": (b"x", {"content-type": "application/xml"}, {}, 415),
    "no credentials": (b"{}", {}, {"sender": "192.0.2.1"}, 403),
    "over HTTPS": (b"[]", {}, {"url": "https://127.0.0.1"}, 202),
}


@pytest.mark.parametrize(("content", "headers", "address", "status"), CASES.values(), ids=CASES)
def test_a_direct_response_is_the_same(app, content, headers, address, status):
    list(answers(app, json.dumps(EVENT).encode()))  # the event is stored
    direct, layered = answers(app, content, headers, **address)

    assert direct == layered
    assert direct[0] == status


@pytest.mark.parametrize(("error", "status"), [(Retryable("away"), 503), (KeyError("bug"), 500)])
def test_a_failure_is_answered_the_same(app, monkeypatch, error, status):
    async def fails(*_):
        raise error

    monkeypatch.setattr("helios.api.webhook_receiver.receive", fails)
    direct, layered = answers(app, b"{}")

    assert direct == layered
    assert direct[0] == status


def test_only_plain_requests_bypass_the_middleware():
    """A request of a browser needs the headers of CORS."""
    app = create_app(in_memory(MemoryStore()))
    client = TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 50000))
    client.post(PATH, json=EVENT)
    bypassed = app.middleware_stack is None
    response = client.post(PATH, json=EVENT, headers={"origin": "http://127.0.0.1"})

    assert bypassed
    assert app.middleware_stack is not None
    assert response.status_code == 202
