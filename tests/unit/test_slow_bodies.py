"""A client that sends its body too slowly is cut off."""

import asyncio

import pytest
from starlette.requests import Request

from helios.api import receive
from helios.errors import Rejected


def request_with(*messages: dict) -> Request:
    """A request whose body arrives in these messages, and then stops arriving."""
    remaining = list(messages)

    async def next_message() -> dict:
        if remaining:
            return remaining.pop(0)
        await asyncio.Event().wait()
        raise AssertionError("the event is never set")

    return Request({"type": "http", "method": "POST", "path": "/", "headers": []}, next_message)


def test_a_body_that_stops_arriving_is_answered_408(monkeypatch):
    monkeypatch.setattr(receive, "READ_SECONDS", 0.05)
    slow = request_with({"type": "http.request", "body": b"{", "more_body": True})

    with pytest.raises(Rejected, match="did not arrive within") as rejected:
        asyncio.run(receive.read_body(slow, 1024))

    assert (rejected.value.field, rejected.value.status) == ("body", 408)


def test_a_body_that_arrives_in_time_is_read():
    body = request_with(
        {"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.request", "body": b"}"}
    )

    assert asyncio.run(receive.read_body(body, 1024)) == (b"{}", False)
